"""Choices of a log's config that contradict each other where one row holds lists: of candidates, or its own history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clickflow.config import Contradictions

if TYPE_CHECKING:
    from clickflow.data.sources.log import LogConfig


def row_list_problems(config: LogConfig) -> Contradictions:
    """All of them: key, and message."""
    columns = config.columns
    if columns.candidates is not None:
        yield from _candidate_problems(config)
    elif columns.item is None:
        yield "columns.item", "= null: every row needs an item; name its column, or name columns.candidates where a row lists several items"
    if columns.history is not None and config.behaviours is not None:
        yield "behaviours", f"= a table, but columns.history = {columns.history} gives each row its own history; remove one of them"
    if columns.history is not None and columns.kind is not None:
        yield "columns.kind", f"= {columns.kind}: the behaviours in columns.history = {columns.history} have no kind; remove one of them"
    if columns.history is None and config.history_separator is not None:
        yield "history_separator", f"= {config.history_separator!r}: there is no history to separate; name columns.history or remove it"


def _candidate_problems(config: LogConfig) -> Contradictions:
    columns, candidates = config.columns, config.columns.candidates
    assert candidates is not None
    for key in ("item", "label", "rating"):
        if named := [column for role, column in columns.named if role == key]:
            what = "items" if key == "item" else "labels"
            yield f"columns.{key}", f"= {', '.join(named)}: the {what} come from columns.candidates; remove one of them"
    key, own = "columns.candidates", candidates.label_separator
    if (own is None) == (candidates.clicked is None):
        given = "neither is given" if own is None else "both are given"
        yield f"{key}.label_separator", f"and clicked: {given}; set the one that says which candidates were clicked"
    if own is not None and (own in candidates.separator or candidates.separator in own):
        yield f"{key}.label_separator", f"= {own!r}: cannot be told from separator = {candidates.separator!r}; choose another one"
    if own is not None and own[-1] in "01":
        yield f"{key}.label_separator", f"= {own!r}: ends like a label (0 or 1); name what is between item and label"
    if config.items is None and config.item_fields:
        yield (
            "item_fields",
            f"= {', '.join(config.item_fields)}: a row lists several items, so it has no column with a field of one; "
            "name an item table as items",
        )
