"""Outcome of a row: a label, a rating, or the kind of behaviour; and the split and the list that a log names itself."""

from collections.abc import Iterable

import polars as pl

from clickflow.data.guessing.profile import Column, Table
from clickflow.data.guessing.words import (
    CLICK,
    CLICK_KINDS,
    KIND,
    KINDS,
    LATER,
    NEGATION,
    OUTCOME,
    RATING,
    SHOWN_KINDS,
    SPLIT,
    TYPE,
    is_named,
    normal,
)
from clickflow.data.sources.columns import SPLIT_CODES

BINARY = ({"0", "1"}, {"0.0", "1.0"}, {"-1", "1"}, {"-1.0", "1.0"}, {"true", "false"}, {"yes", "no"}, {"y", "n"}, {"t", "f"})
MAX_KINDS = 50
MAX_STARS = 21
HIGHEST_RATING = 10
MIN_ROWS_PER_VALUE = 5
MAX_VALUES = 1_000


def labels(table: Table, taken: Iterable[str]) -> list[Column]:
    """Columns that may be the label, the likeliest first; without a name that says so only those of a file without names."""
    binary = [column for column in table.columns if column.name not in taken and _is_binary(column)]
    scored = [(_label_score(column), column) for column in binary]
    return [column for score, column in sorted(scored, key=lambda one: (-one[0], one[1].position)) if score > 0]


def ratings(table: Table, taken: Iterable[str]) -> list[Column]:
    """Columns that may be a rating, the likeliest first."""
    found = [column for column in table.columns if column.name not in taken and _is_rating(column)]
    return sorted(found, key=lambda column: (not (column.words & {"rating", "overall", "stars"}), column.position))


def kinds(table: Table, taken: Iterable[str]) -> list[Column]:
    """Columns that may be the kind of behaviour, the likeliest first."""
    scored = [(_kind_score(column), column) for column in table.columns if column.name not in taken]
    return [column for score, column in sorted(scored, key=lambda one: (-one[0], one[1].position)) if score > 0]


def splits(table: Table, taken: Iterable[str]) -> list[Column]:
    """Columns that name the split of each row."""
    free = (column for column in table.columns if column.name not in taken and column.is_text)
    return [
        column for column in free if column.is_within(SPLIT_CODES) and column.distinct > 1 and (column.words & SPLIT or column.is_unnamed)
    ]


def shown_and_clicked(column: Column) -> tuple[list[str], list[str]] | None:
    """The kinds that say "shown" and those that say "clicked"; None if a log has only one of the two."""
    values = sorted(map(str, column.values.unique()))
    shown = [value for value in values if normal(value) in SHOWN_KINDS]
    clicked = [value for value in values if normal(value) in CLICK_KINDS]
    return (shown, clicked) if shown and clicked else None


def is_known_later(column: Column, outcome: Column | None) -> bool:
    """Whether a column says what became of the row, by its name, or since it fixes the label."""
    if column.words & LATER and not column.words & {"id", "category"}:
        return True
    if outcome is None or column.dtype.is_nested() or not 1 < column.distinct < min(MAX_VALUES, column.rows / MIN_ROWS_PER_VALUE):
        return False
    if column.is_integer or column.is_text or column.dtype == pl.Boolean:
        pairs = pl.DataFrame({"value": column.series, "outcome": outcome.series}).drop_nulls()
        outcomes = pairs.group_by("value").agg(pl.col("outcome").n_unique())["outcome"]
        return bool(len(outcomes) > 1 and outcomes.max() == 1 and pairs["outcome"].n_unique() > 1)
    return False


def _is_binary(column: Column) -> bool:
    values = set() if column.distinct != 2 else {str(value).strip().lower() for value in column.values.unique()}
    return any(values == pair for pair in BINARY)


def _label_score(column: Column) -> int:
    words = column.words
    if words & NEGATION:
        return 0
    if is_named(words - {"is", "was", "has"}, CLICK):
        return 4
    if words & {"click", "clicked", "clk", "label"}:
        return 3
    if words & OUTCOME:
        return 2
    return int(column.is_unnamed)


def _is_rating(column: Column) -> bool:
    if not (column.is_integer or column.is_float) or not 2 < column.distinct <= MAX_STARS:
        return False
    low, high = float(column.values.min()), float(column.values.max())  # type: ignore[arg-type]
    if low < 0 or high > 10 * HIGHEST_RATING:
        return False
    if is_named(column.words - {"user", "review", "movie", "item"}, RATING):
        return True
    in_halves = bool((column.values * 2 == (column.values * 2).round()).all())
    return column.is_unnamed and in_halves and low >= 0.5 and high <= HIGHEST_RATING and column.distinct <= HIGHEST_RATING


def _kind_score(column: Column) -> int:
    if not 1 < column.distinct <= MAX_KINDS or not (column.is_text or column.is_integer):
        return 0
    known = sum(normal(value) in KINDS for value in column.values.unique()) if column.is_text else 0
    is_named_kind = is_named(column.words - TYPE, KIND)
    if known * 2 >= column.distinct:
        return 3 + is_named_kind
    return int(is_named_kind and not column.is_unnamed)
