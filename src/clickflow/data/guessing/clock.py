"""The column of the time, and its form.

Texts and integer dates are tried by the expression that reads them in a log, so what fits here is read there.
"""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import polars as pl

from clickflow.data.guessing.profile import Column, Table, average
from clickflow.data.guessing.words import TIME
from clickflow.data.schema import TimestampUnit
from clickflow.data.sources.timestamps import ISO_FORMATS, Timestamps

UNITS: dict[TimestampUnit, int] = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6}
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC).timestamp()
LATEST = (datetime.now(UTC) + timedelta(days=366)).timestamp()
ISO = tuple(ISO_FORMATS.values())
INTEGER_FORMATS = {
    6: ("%y%m%d",),
    8: ("%Y%m%d", "%y%m%d%H"),
    10: ("%Y%m%d%H", "%y%m%d%H%M"),
    12: ("%Y%m%d%H%M", "%y%m%d%H%M%S"),
    14: ("%Y%m%d%H%M%S",),
}
"""By digits."""
LIKE_SECONDS, SPREAD = "%y%m%d%H%M", 10_000
"""Ten digits, as Unix seconds have; seconds over more than three hours are not all dates of this format."""
DAYS = (
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%Y/%m/%d",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%Y.%m.%d",
    "%d %b %Y",
    "%b %d, %Y",
    "%d-%b-%Y",
    "%m %d, %Y",
)
TIMES = (" %H:%M:%S", " %H:%M:%S%.f", " %H:%M", " %I:%M:%S %p", " %I:%M %p", "")
OTHER_FORMATS = (
    *(day + time for day in DAYS for time in TIMES),
    *("%Y%m%d %H:%M:%S", "%Y%m%dT%H%M%S", "%a %b %d %H:%M:%S %z %Y", "%a, %d %b %Y %H:%M:%S %z"),
    *("%d/%b/%Y:%H:%M:%S %z", "%Y-%m-%d %I:%M:%S %p", "%Y-%m-%d-%H-%M-%S"),
)
READABLE = 0.98
NAMED_READABLE = 0.6
"""Share of values that must be moments, in any column and in one that is named as a time."""
TRIED, FIRST_TRIED = 2_000, 20
"""Values that are tried; those on which most formats fail come first."""


class Clock(NamedTuple):
    """A column of moments.

    Attributes:
        column: its profile.
        unit: of integers.
        text_format: strptime format; None for ISO 8601, for date-times and for numbers.
        question: what a person should look at.
    """

    column: Column
    unit: TimestampUnit = "seconds"
    text_format: str | None = None
    question: str = ""


def clocks(table: Table) -> list[Clock]:
    """All columns that can be read as moments, the likeliest first: named so, then with the finest steps."""
    found = [clock for column in table.columns if (clock := _clock(column))]
    return sorted(found, key=lambda one: (-likelihood(one), one.column.position))


def positions(table: Table) -> list[Clock]:
    """Columns that are named as times, and hold positions in a user's log."""
    named = [column for column in table.columns if column.words & {"timestamp", "time", "ts", "order", "position", "step"}]
    return [Clock(column, "order") for column in named if column.is_integer and column.distinct > 2]


def likelihood(clock: Clock) -> float:
    """Score of a column as the time of the log: its name, fine steps, a time beside the date."""
    column = clock.column
    named = 2.0 if _is_named(column) else 1.0 if column.words & TIME else 0.0
    is_date_only = clock.text_format is not None and not any(part in clock.text_format for part in ("%H", "%I"))
    return named + column.distinct / max(1, column.rows) - is_date_only


def _is_named(column: Column) -> bool:
    return bool(column.words) and column.words <= TIME | {"event", "click", "view", "review", "visit"}


def _clock(column: Column) -> Clock | None:
    if len(column.values) < column.rows * READABLE / 2 or column.distinct < 1:
        return None
    if column.dtype == pl.Date or isinstance(column.dtype, pl.Datetime):
        return Clock(column)
    if column.dtype.is_numeric():
        return _number(column)
    return _text(column) if column.is_text else None


def _number(column: Column) -> Clock | None:
    """Unix time by its size, or a date that is written as a number."""
    is_named = bool(column.words & TIME)
    low, high = (float(column.values.quantile(share)) for share in (0.01, 0.99))  # type: ignore[arg-type]
    if column.is_integer and (is_named or column.is_unnamed):
        lengths = {len(str(int(low))), len(str(int(high)))}
        formats = [text for length in lengths for text in INTEGER_FORMATS.get(length, ()) if _reads(column, text)]
        if formats and not (formats[0] == LIKE_SECONDS and high - low < SPREAD):
            return Clock(column, text_format=formats[0])
    for unit, ticks in UNITS.items():
        if EARLIEST * ticks <= low and high <= LATEST * ticks and (is_named or column.is_unnamed or unit != "seconds"):
            return Clock(column, unit)
    return None


def _text(column: Column) -> Clock | None:
    number = column.values.cast(pl.Int64, strict=False)
    if number.null_count() <= len(number) * (1 - _readable(column)):
        found = _number(Column(column.name, number, column.position))
        return None if found is None else found._replace(column=column)
    if any(_reads(column, one, whole=False) for one in ISO):
        return Clock(column) if _share_read(column, ISO) >= _readable(column) else None
    if average(column.values.head(TRIED).str.contains(r"\d.*\d")) < _readable(column):
        return None
    first = Column(column.name, column.values.head(FIRST_TRIED), column.position)
    possible = [one for one in OTHER_FORMATS if _reads(first, one, whole=False)]
    formats = sorted((one for one in possible if _reads(column, one)), key=lambda one: _span(column, one))
    return Clock(column, text_format=formats[0], question=_which(formats)) if formats else None


def _span(column: Column, text_format: str) -> float:
    """Time between the first and the last value: 11/06 to 11/12 are seven days rather than seven months."""
    moments = _moments(column, (text_format,))
    return float((moments - moments.min()).max() or 0)  # type: ignore[arg-type]


def _which(formats: list[str]) -> str:
    both = [one for one in formats if one.startswith(("%d/%m", "%m/%d", "%d-%m", "%m-%d"))]
    return f"timestamp_format: {' or '.join(both[:2])}? Every date can be read as both" if len({one[:2] for one in both}) > 1 else ""


def _reads(column: Column, text_format: str, whole: bool = True) -> bool:
    """Whether a log's reader would take the column in this format; ``whole``: nearly every value."""
    share = _share_read(column, (text_format,))
    return share >= _readable(column) if whole else share > 0


def _readable(column: Column) -> float:
    return NAMED_READABLE if _is_named(column) else READABLE


def _share_read(column: Column, formats: tuple[str, ...]) -> float:
    seconds = _moments(column, formats)
    return float(seconds.is_between(EARLIEST, LATEST).sum() / len(seconds))


def _moments(column: Column, formats: tuple[str, ...]) -> pl.Series:
    """Seconds since 1970 of the first values, null where they are not of the format."""
    values = column.values.head(TRIED).rename("time")
    expression = Timestamps("time", values.dtype, formats, is_clock=True).canonical("seconds", False).expression
    return values.to_frame().select(expression).to_series() / 10**6
