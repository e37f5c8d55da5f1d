"""Columns with several ids per row: ready-made histories, and lists of what was shown."""

import re
from collections.abc import Iterable
from typing import NamedTuple

import polars as pl

from clickflow.data.guessing.profile import Column, Table, average
from clickflow.data.guessing.words import CLICK, HISTORY, SHOWN

SEPARATORS = (" ", "^", "|", ";", ",", "#", "~", "\x01", "_")
TRIED = 5_000
SEVERAL = 0.3
"""Share of values with several parts from which a column holds lists."""
NEARLY_ALL = 0.95
OVERLAP = 0.3
LABELLED = re.compile(r"^.+([^\w]|_)[01]$")


class Sequence(NamedTuple):
    """A column of lists.

    Attributes:
        column: its profile.
        separator: between the parts of a text; None for a list column.
        lists: the first rows as lists of texts.
    """

    column: Column
    separator: str | None
    lists: pl.Series

    @property
    def parts(self) -> pl.Series:
        """All parts of all rows."""
        return self.lists.explode().drop_nulls().cast(pl.String)


class Candidates(NamedTuple):
    """Items shown in each row.

    Attributes:
        shown: the lists.
        label_separator: between an item and its label; None if the clicks are in a column of their own.
        clicked: the lists of what was clicked, if so.
    """

    shown: Sequence
    label_separator: str | None = None
    clicked: Sequence | None = None

    @property
    def items(self) -> pl.Series:
        """The ids of what was shown."""
        parts = self.shown.parts
        return parts if self.label_separator is None else parts.str.head(-2)


def sequences(table: Table, taken: Iterable[str]) -> list[Sequence]:
    """All columns that hold lists."""
    found = (_sequence(column) for column in table.columns if column.name not in taken)
    return [one for one in found if one is not None]


def candidates(found: list[Sequence]) -> Candidates | None:
    """Find the list that was shown, with its labels."""
    for one in found:
        if one.separator is not None and (mark := _label_separator(one.parts.head(TRIED))):
            return Candidates(one, mark)
    named = [one for one in found if one.column.words & SHOWN]
    for shown in sorted(found, key=lambda one: one not in named):
        for clicked in found:
            is_clicked = bool(clicked.column.words & CLICK) and not clicked.column.words & HISTORY
            if clicked is not shown and is_clicked and _is_part(clicked, shown):
                return Candidates(shown, clicked=clicked)
    return None


def histories(found: list[Sequence], items: pl.Series | None) -> list[Sequence]:
    """Lists that hold ids of the log's items; those named so first. Without known items the name decides."""
    scored = []
    for one in found:
        is_named = bool(one.column.words & HISTORY)
        overlap = 0.0 if items is None else Column("parts", one.parts.head(TRIED), 0).covered_by(items)
        if overlap >= OVERLAP or (is_named and items is None):
            scored.append((is_named, overlap, one))
    return [one for _, _, one in sorted(scored, key=lambda each: (-each[0], -each[1], each[2].column.position))]


def _sequence(column: Column) -> Sequence | None:
    head = column.series.head(TRIED)
    if isinstance(column.dtype, pl.List):
        inner = column.dtype.inner
        return Sequence(column, None, head.cast(pl.List(pl.String))) if inner == pl.String or inner.is_integer() else None
    if not column.is_text or column.values.is_empty() or column.is_constant:
        return None
    values = column.values.head(TRIED).str.strip_chars()
    for separator in SEPARATORS:
        several = average(values.str.contains(separator, literal=True))
        if several >= SEVERAL and _are_ids(parts := values.str.split(separator).explode(), separator, column):
            return Sequence(column, separator, head.str.strip_chars().str.split(separator)) if len(parts) else None
    return None


def _are_ids(parts: pl.Series, separator: str, column: Column) -> bool:
    """Whether parts are ids rather than words of a sentence, pieces of a date or of one longer id."""
    parts = parts.filter(parts != "")
    if parts.is_empty() or bool(parts.str.contains(r"\s").any()):
        return False
    counts = column.values.head(TRIED).str.count_matches(re.escape(separator))
    has_digits = average(parts.str.contains(r"\d"))
    is_varied = counts.n_unique() > 1
    if separator in (" ", "_", ",") and has_digits < NEARLY_ALL / 2:
        return False
    return is_varied or bool(column.words & (HISTORY | SHOWN | CLICK))


def _label_separator(parts: pl.Series) -> str | None:
    """The character between an item and 0 or 1, if all parts end so and both occur."""
    ends = parts.filter(parts != "").str.tail(2).unique()
    marks: set[str] = {text[0] for text in ends if LABELLED.match(f"x{text}")}
    if len(marks) != 1 or len(ends) != 2:
        return None
    return marks.pop()


def _is_part(small: Sequence, large: Sequence) -> bool:
    pairs = pl.DataFrame({"small": small.lists, "large": large.lists}).filter(pl.col("small").list.len() > 0)
    if pairs.is_empty():
        return False
    are = pairs.select((pl.col("small").list.set_difference("large").list.len() == 0).mean()).item()
    return bool(are >= NEARLY_ALL)
