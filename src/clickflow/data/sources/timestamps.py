"""Timestamps of a file -> Int64.

Integers keep the unit that the config names. Dates, date-times and numbers with a fraction become microseconds: a coarser unit would
make different events equal, and a history must end strictly before its impression. A time without a zone is taken as UTC.
"""

import re
from functools import partial
from typing import NamedTuple

import polars as pl

from clickflow.data.schema import TIMESTAMP, TimestampUnit
from clickflow.data.sources import columns
from clickflow.data.sources.columns import Canonical, Selection
from clickflow.data.sources.source import reading
from clickflow.data.sources.texts import with_point
from clickflow.errors import DataError

MICROSECONDS: dict[str, int] = {"seconds": 10**6, "milliseconds": 10**3, "microseconds": 1}
INTEGER_MEANING: dict[TimestampUnit, str] = {
    "seconds": "an integer (Unix seconds)",
    "milliseconds": "an integer (Unix milliseconds)",
    "microseconds": "an integer (Unix microseconds)",
    "order": "an integer (position)",
}
DATE, TIME, ZONE = "[0-9]{4}-[0-9]{2}-[0-9]{2}", "[0-9]{2}:[0-9]{2}:[0-9]{2}([.,][0-9]+)?", "([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)"
# ISO 8601 as it occurs: pattern of a text -> how to read it. Only the patterns that occur are tried.
ISO_FORMATS = {
    f"^{DATE}T{TIME}$": "%Y-%m-%dT%H:%M:%S%.f",
    f"^{DATE} {TIME}$": "%Y-%m-%d %H:%M:%S%.f",
    f"^{DATE}T{TIME}{ZONE}$": "%Y-%m-%dT%H:%M:%S%.f%#z",
    f"^{DATE} {TIME}{ZONE}$": "%Y-%m-%d %H:%M:%S%.f%#z",
    f"^{DATE}T[0-9]{{2}}:[0-9]{{2}}$": "%Y-%m-%dT%H:%M",
    f"^{DATE} [0-9]{{2}}:[0-9]{{2}}$": "%Y-%m-%d %H:%M",
    f"^{DATE}$": "%Y-%m-%d",
}
ISO_PATTERNS = {text_format: pattern for pattern, text_format in ISO_FORMATS.items()}
DIGITS = {"Y": 4, "j": 3, "m": 2, "d": 2, "H": 2, "M": 2, "S": 2, "y": 2}
"""Width of each part of a date that is written without separators."""
NOT_ISO = "an ISO 8601 date-time like the others of its column (for another format set data.timestamp_format)"

unix_seconds = partial(columns.integer, expected=INTEGER_MEANING["seconds"])
"""For formats whose timestamps are known to be Unix seconds."""


class Timestamps(NamedTuple):
    """Reading of a timestamp column.

    Attributes:
        source: its name in the file.
        dtype: its type there.
        formats: strptime formats of its texts; empty for numbers and for date-times.
        expected: description of a valid text.
        is_clock: whether it holds dates or date-times, which become microseconds.
        has_fraction: whether some number of it has a fraction.
        decimal: decimal mark of its numbers.
    """

    source: str
    dtype: pl.DataType
    formats: tuple[str, ...] = ()
    expected: str = ""
    is_clock: bool = False
    has_fraction: bool = False
    decimal: str = "."

    def canonical(self, unit: TimestampUnit, as_microseconds: bool) -> Canonical:
        """The column to select, in ``unit`` or in microseconds."""
        if self.formats:
            text = _as_text(self.source, self.dtype, self.formats[0])
            return Canonical(TIMESTAMP, self.source, _parsed(text, self.formats), self.expected)
        if self.is_clock:
            return Canonical(TIMESTAMP, self.source, pl.col(self.source).cast(pl.Datetime("us")).dt.epoch("us"))
        if not as_microseconds:
            return columns.integer(TIMESTAMP, self.source, self.dtype, "", INTEGER_MEANING[unit])
        ticks = (_number(self.source, self.dtype, self.decimal) * MICROSECONDS[unit]).round().cast(pl.Int64, strict=False)
        return Canonical(TIMESTAMP, self.source, ticks, INTEGER_MEANING[unit].replace("an integer", "a number"))


def timestamps(table: Selection, source: str, unit: TimestampUnit, text_format: str | None, decimal: str) -> Timestamps:
    """Choose how to read a timestamp column; all rows decide, so another order of the rows gives the same.

    Args:
        table: the table that has it.
        source: name of the column.
        unit: unit of numbers.
        text_format: strptime format of texts and of integers such as 20240531, None for ISO 8601 and for numbers.
        decimal: decimal mark of numbers that are texts.

    Raises:
        DataError: the column holds no timestamps, or contradicts ``unit`` or ``text_format``.
    """
    dtype, where = table.schema[source], f"{table.where}, column '{source}'"
    is_clock = dtype == pl.Date or isinstance(dtype, pl.Datetime)
    if text_format is not None:
        if is_clock or not (dtype.is_numeric() or dtype in (pl.String, pl.Null)):
            raise DataError(f"{where} = {dtype}: data.timestamp_format = '{text_format}' is for texts and integers; remove it.")
        return Timestamps(source, dtype, (text_format,), f"a date-time of the format '{text_format}'", is_clock=True)
    if is_clock:
        if unit == "order":
            raise DataError(f"{where} = {dtype}: a clock, not a position; remove data.timestamp_unit=order.")
        return Timestamps(source, dtype, is_clock=True)
    if dtype not in (pl.String, pl.Null) and not dtype.is_numeric():
        raise DataError(f"{where} = {dtype}: timestamps are integers, dates, date-times or texts; convert the column.")
    if unit == "order" or dtype.is_integer() or dtype == pl.Null:
        return Timestamps(source, dtype)
    number = _number(source, dtype, decimal)
    has_fraction = (number != number.round()).any()
    with reading(table.where):
        if dtype != pl.String:
            return Timestamps(source, dtype, has_fraction=bool(table.frame.select(has_fraction).collect(engine="streaming").item()))
        text = pl.col(source).str.strip_chars()
        shapes = table.frame.group_by(text.str.replace_all("[0-9]", "0").alias("shape")).agg(
            pl.len().alias("rows"), number.is_not_null().sum().alias("numbers"), has_fraction.alias("fraction")
        )
        found = shapes.drop_nulls("shape").collect(engine="streaming")
    dates = {shape: rows for shape, rows in found.select("shape", "rows").iter_rows() if _iso_format(shape)}
    if sum(dates.values()) and sum(dates.values()) >= found["numbers"].sum():
        formats = tuple(one for one in ISO_FORMATS.values() if any(_iso_format(shape) == one for shape in dates))
        return Timestamps(source, dtype, formats, NOT_ISO, is_clock=True)
    return Timestamps(source, dtype, has_fraction=bool(found["fraction"].any()), decimal=decimal)


def _iso_format(shape: str) -> str | None:
    return next((text for pattern, text in ISO_FORMATS.items() if re.match(pattern, shape)), None)


def _number(source: str, dtype: pl.DataType, decimal: str) -> pl.Expr:
    column = pl.col(source)
    value = (with_point(column.str.strip_chars(), decimal) if dtype == pl.String else column).cast(pl.Float64, strict=False)
    return pl.when(value.is_finite()).then(value)


def _as_text(source: str, dtype: pl.DataType, text_format: str) -> pl.Expr:
    """A column as texts. An integer lacks the zeros in front: 90531 is 090531 under ``%y%m%d``."""
    if dtype in (pl.String, pl.Null):
        text = pl.col(source).cast(pl.String).str.strip_chars()
    else:
        whole = pl.col(source).cast(pl.Int64, strict=False)
        text = pl.when(whole == pl.col(source)).then(whole).cast(pl.String)
    if text_format in ISO_PATTERNS:
        return text.str.replace(",", ".", literal=True)
    parts = re.findall(r"%-?(\w)", text_format)
    if "".join(f"%{part}" for part in parts) != text_format or not set(parts) <= set(DIGITS):
        return text
    digits = sum(DIGITS[part] for part in parts)
    text = text.str.zfill(digits)
    return pl.when(text.str.contains(rf"^[0-9]{{{digits}}}$")).then(text)


def _parsed(text: pl.Expr, formats: tuple[str, ...]) -> pl.Expr:
    """Microseconds since 1970 of texts in any of the formats, null for other texts."""
    parsed = [_one_parsed(text, one) for one in formats]
    return pl.coalesce(parsed).dt.epoch("us")


def _one_parsed(text: pl.Expr, text_format: str) -> pl.Expr:
    if pattern := ISO_PATTERNS.get(text_format):  # Polars would read 9:5 and line ends too
        text = pl.when(text.str.contains(pattern)).then(text)
    if re.search(r"%[-_0]?[HIkl]", text_format) and not re.search(r"%[-_0]?[MTRrXcs+]", text_format):  # it wants minutes with the hours
        text, text_format = text + "|00", f"{text_format}|%M"
    return text.str.to_datetime(text_format, time_unit="us", time_zone="UTC", strict=False)
