"""Timestamps of a file -> Int64.

Integers keep the unit that the config names. Dates and date-times always become microseconds: a coarser unit would make different
events equal, and a history must end strictly before its impression. A time without a zone is taken as UTC.
"""

from functools import partial
from typing import NamedTuple

import polars as pl

from clickflow.data.schema import TIMESTAMP, TimestampUnit
from clickflow.data.sources import columns
from clickflow.errors import DataError

SAMPLE_ROWS = 1_000
INTEGER_MEANING: dict[TimestampUnit, str] = {
    "seconds": "an integer (Unix seconds)",
    "milliseconds": "an integer (Unix milliseconds)",
    "microseconds": "an integer (Unix microseconds)",
    "order": "an integer (position)",
}
# ISO 8601 as it occurs: with and without a zone, fraction, seconds or time. Only those that occur in a sample are tried.
ISO_FORMATS = (
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M:%S%.f%#z",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d",
)


unix_seconds = partial(columns.integer, expected=INTEGER_MEANING["seconds"])
"""For formats whose timestamps are known to be Unix seconds."""


class Timestamps(NamedTuple):
    """A timestamp column to select, and the unit of its values."""

    column: columns.Canonical
    unit: TimestampUnit


def timestamps(frame: pl.LazyFrame, source: str, unit: TimestampUnit, text_format: str | None, where: str) -> Timestamps:
    """Choose how to read a timestamp column.

    A text column is judged by its first 1,000 values: date-times by ``text_format`` or ISO 8601, else digits.

    Args:
        frame: the file.
        source: name of its timestamp column.
        unit: unit of integers.
        text_format: strptime format of texts, None for ISO 8601.
        where: label of the file in messages.

    Raises:
        DataError: the column holds no timestamps, or contradicts ``unit`` or ``text_format``.
    """
    dtype = frame.collect_schema()[source]
    if dtype == pl.String:
        return _from_texts(frame, source, unit, text_format)
    if text_format is not None:
        raise DataError(f"{where}, column '{source}' = {dtype}: data.timestamp_format = '{text_format}' is for texts; remove it.")
    if dtype.is_numeric():
        return Timestamps(columns.integer(TIMESTAMP, source, dtype, where, INTEGER_MEANING[unit]), unit)
    if dtype == pl.Date or isinstance(dtype, pl.Datetime):
        if unit == "order":
            raise DataError(f"{where}, column '{source}' = {dtype}: a clock, not a position; remove data.timestamp_unit=order.")
        microseconds = pl.col(source).cast(pl.Datetime("us")).dt.epoch("us")
        return Timestamps(columns.Canonical(TIMESTAMP, source, microseconds), "microseconds")
    raise DataError(f"{where}, column '{source}' = {dtype}: timestamps are integers, dates, date-times or texts; convert the column.")


def _from_texts(frame: pl.LazyFrame, source: str, unit: TimestampUnit, text_format: str | None) -> Timestamps:
    if text_format is not None:
        meaning = f"a date-time of the format '{text_format}'"
        return Timestamps(columns.Canonical(TIMESTAMP, source, _parsed(source, (text_format,)), meaning), "microseconds")
    sample = frame.select(pl.col(source).str.strip_chars()).drop_nulls().head(SAMPLE_ROWS).collect()
    formats = tuple(text for text in ISO_FORMATS if sample.select(_parsed(source, (text,)).is_not_null().any()).item())
    if not formats or unit == "order":
        return Timestamps(columns.integer(TIMESTAMP, source, pl.String(), "", INTEGER_MEANING[unit]), unit)
    meaning = "an ISO 8601 date-time like those before it (for another format set data.timestamp_format)"
    return Timestamps(columns.Canonical(TIMESTAMP, source, _parsed(source, formats), meaning), "microseconds")


def _parsed(source: str, formats: tuple[str, ...]) -> pl.Expr:
    """Microseconds since 1970 of texts in any of the formats, null for other texts."""
    text = pl.col(source).str.strip_chars()
    parsed = [text.str.to_datetime(one, time_unit="us", time_zone="UTC", strict=False) for one in formats]
    return pl.coalesce(parsed).dt.epoch("us")
