"""Rows of a table that count, by the values of its columns: ``where: {event: [view, buy]}``.

Values are compared as texts. What is left out is counted, and a value that no row has is an error: it is misspelt, or the column is
another one.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from clickflow.config import suggest
from clickflow.data.sources.conditions import Condition, listed
from clickflow.data.sources.source import reading, several
from clickflow.errors import DataError
from clickflow.text import cut

VALUES_SHOWN = 10
CHARACTERS_SHOWN = 40
EQUALITIES = 20
"""Values that are compared one by one."""


def has_value(column: str, dtype: pl.DataType, values: Sequence[str | None]) -> pl.Expr:
    """Whether a row has one of the values; never null. ``true`` and ``false`` match in any case, fractions as numbers."""
    found, texts = pl.col(column), [value for value in values if value is not None]
    if dtype.is_float():
        absent = found.is_null() | found.is_nan()
        held = _is_one(found, [number for text in texts if (number := _number(text)) is not None])
    else:
        absent, text = found.is_null(), found.cast(pl.String)
        held = _is_one(text, texts)
        if truths := [text.lower() for text in texts if text.lower() in ("true", "false")]:
            held = held | _is_one(text.str.to_lowercase(), truths)
    held = held.fill_null(False)
    return held | absent if None in values else held


def _is_one(found: pl.Expr, values: Sequence[str] | Sequence[float]) -> pl.Expr:
    """Whether a value is one of some; equality costs a twentieth of ``is_in``."""
    if len(values) > EQUALITIES:
        return found.is_in(values)
    return pl.any_horizontal(pl.lit(False), *(found == value for value in values))


class Chosen(NamedTuple):
    """Rows of a table that count.

    Attributes:
        frame: the rows.
        left_out: how many rows the conditions of ``where`` leave out.
        neither: how many of the others meet no condition of ``either``.
    """

    frame: pl.LazyFrame
    left_out: int
    neither: int


def choose(
    frame: pl.LazyFrame,
    where: Sequence[Condition],
    either: Sequence[Condition] = (),
    *,
    keeps_others: bool = True,
    place: str,
    null_values: Sequence[str],
) -> Chosen:
    """Keep the rows that meet all conditions of ``where`` and one of ``either``.

    Args:
        frame: rows of a table.
        where: conditions on its columns.
        either: further conditions, on what ``where`` leaves.
        keeps_others: whether the rows that meet none of ``either`` stay all the same.
        place: the table's files, for messages.
        null_values: texts that were read as missing values.

    Raises:
        DataError: a value that no row has, a column of lists, or no row is left.
    """
    schema = frame.collect_schema()
    for one in (*where, *either):
        if schema[one.column].is_nested():
            raise DataError(f"{_named(place, one)} = {schema[one.column]}: several values per row; name a column of single values.")

    def met(one: Condition) -> pl.Expr:
        return has_value(one.column, schema[one.column], one.values)

    allowed = pl.all_horizontal(pl.lit(True), *map(met, where))
    chosen = pl.any_horizontal(pl.lit(keeps_others), *map(met, either))
    named = [(one, value) for one in (*where, *either) for value in one.values]
    is_held = [
        ((allowed if one in either else pl.lit(True)) & has_value(one.column, schema[one.column], (value,))).any().alias(str(position))
        for position, (one, value) in enumerate(named)
    ]
    with reading(place):
        counts = frame.select(
            pl.len().alias("rows"), (~allowed).sum().alias("left_out"), (allowed & ~chosen).sum().alias("neither"), *is_held
        )
        found = counts.collect(engine="streaming").row(0, named=True)
    if found["rows"]:  # an empty table is reported as such
        absent = [(one, value) for position, (one, value) in enumerate(named) if not found[str(position)]]
        problems = [_absent(frame, one, value, place, null_values) for one, value in absent if one not in either]
        if not problems and found["left_out"] == found["rows"]:
            shown = " and ".join(f"data.{one.key} = {listed(one.values)}" for one in where)
            problems = [f"{place}: no row meets {shown} at once; change the conditions."]
        elif not problems:
            problems = [_absent(frame.filter(allowed), one, value, place, null_values) for one, value in absent]
        if problems:
            raise several(problems, place)
    return Chosen(frame.filter(allowed & chosen), found["left_out"], found["neither"])


def _absent(frame: pl.LazyFrame, one: Condition, value: str | None, place: str, null_values: Sequence[str]) -> str:
    where = _named(place, one)
    if value is None:
        return f"{where} = null: no row lacks a value; remove null."
    with reading(place):
        rows = frame.group_by(pl.col(one.column).cast(pl.String)).agg(pl.len().alias("rows")).drop_nulls()
        most = rows.sort(["rows", one.column], descending=[True, False]).with_columns(pl.len().alias("different")).head(VALUES_SHOWN)
        counted = most.collect(engine="streaming")
    held = [cut(found, CHARACTERS_SHOWN) for found in counted[one.column]]
    if value in null_values:
        return f"{where} = {value}: stands for a missing value (data.null_values); write null for it, or set null_values."
    more = f" and {counted['different'][0] - len(held):,} more" if len(held) and counted["different"][0] > len(held) else ""
    nearest = suggest(value, held)
    hint = f"{nearest.removesuffix('?')}; " if nearest.endswith("?") else ""
    if not value.strip():
        return f"{where} = {value!r}: a blank text is a missing value; write null for it."
    return f"{where} = {value}: no row has this value; {hint}the column has: {', '.join(held) or 'no value'}{more}."


def _named(place: str, one: Condition) -> str:
    return f"{place}, column '{one.column}' (data.{one.key})"


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
