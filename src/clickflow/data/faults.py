"""Faults of single rows, and how a message points at them.

A fault is a boolean mask over a piece of a table and a sentence. The mask is computed only after a null count, a minimum or a
maximum has shown that there is a fault. The same mask serves the message and ``data.on_bad_rows=drop``. A value of an optional field
that cannot be read costs that value and not its row. Equal faults of all pieces of a table are one finding.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import polars as pl

from clickflow.data.schema import CANDIDATES, CLICKED, GIVEN_HISTORY, ITEM, LABEL, RATING, SPLIT, TICKS_PER_SECOND, TIMESTAMP, USER
from clickflow.data.sources.columns import EXPECTED, given, qualified
from clickflow.data.sources.parts import FILE, ROW
from clickflow.data.sources.raw import RawLog, RefusedLines
from clickflow.data.sources.texts import token

ROLES = {"items": ITEM, "users": USER}
"""Table with one row per item or user -> its id, which is also the role of its fields."""
DAY_SECONDS = 86_400
CLICK_LOGS_SINCE_SECONDS = 631_152_000
"""1990-01-01: a number that is older in its declared unit and plausible in another one has the wrong unit."""


REQUIRED = (USER, ITEM, TIMESTAMP, LABEL, RATING, SPLIT, CANDIDATES, CLICKED, GIVEN_HISTORY)
"""Columns of which every row needs a value, in the order in which messages name their faults."""


class Fault(NamedTuple):
    """Rows of a piece of a table that share a fault of one column.

    Attributes:
        column: canonical name.
        bad: Boolean, one value per row, no nulls.
        wrong: what is wrong with them, as worded in a message.
        rank: place among the faults of a message.
        is_time: whether another unit of time would explain it.
    """

    column: str
    bad: pl.Series
    wrong: str
    rank: int = 0
    is_time: bool = False


@dataclass(frozen=True)
class RawTable:
    """A piece of a table of a log, in the order of its files.

    Attributes:
        name: ``interactions``, ``behaviours``, ``items`` or ``users``.
        frame: canonical columns and their companions (see :mod:`clickflow.data.sources.columns`).
        raw: its origin and the column names of its files.
        first_row: rows of the table before the piece.
        begins: file -> rows of the table before it, if the table has several files.
        has_zero_labels: tells whether some row of the table has 0 as its label.
    """

    name: str
    frame: pl.DataFrame
    raw: RawLog
    first_row: int = 0
    begins: Mapping[str, int] = field(default_factory=dict)
    has_zero_labels: Callable[[], bool] = lambda: False

    @property
    def origin(self) -> str:
        """The file or files."""
        return self.raw.origins.get(self.name) or self.name

    def column(self, name: str) -> str:
        """Name of a canonical column in the user's file."""
        return self.raw.columns.get(qualified(self.name, name), name)

    def expected(self, name: str) -> str:
        """Description of a valid value of a canonical column."""
        return self.raw.columns.get(EXPECTED + qualified(self.name, name), "readable")

    @property
    def refused(self) -> RefusedLines:
        """Lines of its files that are no rows."""
        return self.raw.refused.get(self.name, RefusedLines())

    @property
    def left_out(self) -> dict[str, int]:
        """Rows of its files that the config leaves out, by reason."""
        return self.raw.left_out.get(self.name, {})

    @property
    def label(self) -> str:
        """The file or files, with the table's name if they hold another table too."""
        shared = sum(self.raw.origins.get(name) == self.origin for name in self.raw.origins) > 1
        return f"{self.origin} ({self.name})" if shared else self.origin

    def where(self, fault: Fault) -> str:
        """File, column, first row and its value."""
        index = fault.bad.arg_max()
        assert index is not None
        return self.where_row(fault.column, index)

    def where_row(self, column: str, index: int) -> str:
        """File, column, a row of the piece and its value."""
        file, row = self.file_and_row(index)
        return f"{file}, column '{self.column(column)}', row {row:,} = {self.value(column, index)}"

    def file_and_row(self, index: int) -> tuple[str, int]:
        """The file of a row of the piece, and the row in it counted from 1."""
        file, position = self.origin, self.first_row + index
        if FILE in self.frame.columns:
            file = str(self.frame[FILE][index])
            position -= self.begins[file]
        if ROW in self.frame.columns:
            position = int(self.frame[ROW][index])
        for refused in self.refused.positions.get(file, []):
            if refused > position:
                break
            position += 1
        return file, position + 1

    def value(self, column: str, index: int) -> str:
        """The value as written in the file."""
        companions = [name for name in (token(column), given(column)) if name in self.frame.columns]
        values: list[Any] = [self.frame[name][index] for name in (*companions, column)]
        return next((repr(value) for value in values if value is not None), "null")


@dataclass
class Finding:
    """Equal faults of a table.

    Attributes:
        where: file, column, first row and its value.
        wrong: what is wrong.
        count: rows that have it.
        column: canonical name of the column.
    """

    where: str
    wrong: str
    count: int
    column: str

    def __str__(self) -> str:
        more = self.count - 1
        like = f" (and so in {more:,} more row{'s' if more > 1 else ''})" if more else ""
        return f"{self.where}: {self.wrong}{like}"


class Findings:
    """The faults of a table, found piece by piece."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, str, str, bool], Finding] = {}

    def add(self, table: RawTable, fault: Fault) -> None:
        """Add the rows of a later piece."""
        key, count = (fault.rank, fault.column, fault.wrong, fault.is_time), int(fault.bad.sum())
        if key in self._found:
            self._found[key].count += count
        else:
            self._found[key] = Finding(table.where(fault), fault.wrong, count, fault.column)

    def all(self, with_times: bool = True) -> list[Finding]:
        """Findings in the order of a message; without those that a wrong unit of time explains, if asked."""
        return [self._found[key] for key in sorted(self._found) if with_times or not key[-1]]


def row_faults(table: RawTable) -> Iterator[Fault]:
    """All faults of single rows.

    Missing and unreadable ids, times, labels and ratings; lists with an unreadable element; times before 1970 or in the future; rows of
    an item table that contradict each other.
    """
    for rank, name in enumerate(REQUIRED):
        if name in table.frame.columns and table.frame[name].null_count():
            yield from _missing_or_unreadable(table, name, 2 * rank)
    yield from _ambiguous_labels(table, 2 * len(REQUIRED))
    if TIMESTAMP in table.frame.columns:
        yield from _impossible_times(table, 2 * len(REQUIRED) + 1)
    if table.name in ROLES:
        yield from _contradicting_rows(table, 2 * len(REQUIRED) + 3)


class UnitCheck:
    """Timestamps that look like another unit than the declared one, or like no times at all.

    The magnitude tells: Unix seconds, milli-, micro- and nanoseconds from 1990 to tomorrow are four ranges far apart. Nobody logged
    clicks before.
    """

    def __init__(self) -> None:
        self._low: int | None = None
        self._high: int | None = None
        self._first = ""
        self._foreign: dict[str, tuple[str, int]] = {}  # unit -> first row, number of rows

    def add(self, table: RawTable) -> None:
        """Look at the next piece of a table."""
        if TIMESTAMP not in table.frame.columns or (unit := table.raw.timestamp_unit) == "order":
            return
        values = table.frame[TIMESTAMP]
        lowest, highest = cast(int | None, values.min()), cast(int | None, values.max())
        if lowest is None or highest is None:
            return
        if not self._first:
            index = values.is_not_null().arg_max()
            assert index is not None
            self._first = table.where_row(TIMESTAMP, index)
        self._low = lowest if self._low is None else min(self._low, lowest)
        self._high = highest if self._high is None else max(self._high, highest)
        low, high = _plausible(unit)
        if lowest >= low and highest <= high:
            return
        for other in TICKS_PER_SECOND:
            is_foreign = values.is_between(*_plausible(other)).fill_null(False)
            if other != unit and (count := int(is_foreign.sum())):
                index = is_foreign.arg_max()
                assert index is not None
                where, before = self._foreign.get(other, (table.where_row(TIMESTAMP, index), 0))
                self._foreign[other] = where, before + count

    def wrong(self, unit: str, num_rows: int) -> str | None:
        """Describe the fault in the unit of a table's times; None if there is none.

        Args:
            unit: the declared one.
            num_rows: rows of the table.
        """
        for other in TICKS_PER_SECOND:
            if other in self._foreign:
                return _wrong_unit(*self._foreign[other], unit, other, num_rows)
        if self._high is None or self._high >= _plausible(unit)[0]:
            return None
        return (
            f"{self._first}: all times are before 1990, read as {unit} since 1970; set data.timestamp_format for dates that are integers "
            "(20240531 is %Y%m%d), data.timestamp_unit=order for positions, or convert the column."
        )


def unreadable_values(table: RawTable) -> Iterator[Fault]:
    """Values of optional fields that are there and cannot be read; they count as missing.

    A numeric field may be missing (null, NaN, empty text), but must otherwise be a number.
    """
    for rank, spec in enumerate(table.raw.fields):
        if given(spec.name) not in table.frame.columns:
            continue
        original = table.frame[given(spec.name)]
        there = original.is_not_null()
        if original.dtype.is_float():
            there = there & original.is_not_nan()
        elif original.dtype == pl.String:
            there = there & ~original.str.strip_chars().str.to_lowercase().is_in(["", "nan"])
        unreadable = table.frame[spec.name].is_null() & there.fill_null(False)
        if unreadable.any():
            yield Fault(spec.name, unreadable, f"not {table.expected(spec.name)}", rank)


def plausible_now_seconds() -> int:
    """The latest Unix second a log can hold: clocks may differ by a day."""
    return int(time.time()) + DAY_SECONDS


def _missing_or_unreadable(table: RawTable, name: str, rank: int) -> Iterator[Fault]:
    absent = table.frame[name].is_null()
    if given(name) in table.frame.columns:
        original = table.frame[given(name)]
        unreadable = absent & (original.is_not_null() if original.dtype != pl.String else (original != "").fill_null(False))
        if unreadable.any():
            yield Fault(name, unreadable, f"not {table.expected(name)}", rank)
        absent = absent & ~unreadable
    if absent.any():
        article = "an" if name == ITEM else "a"
        yield Fault(name, absent, f"missing, and every row needs {article} {name.removeprefix('given ')}", rank + 1)


def no_click_as_minus_one(given_label: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Whether a label is -1 as the file has it."""
    if dtype == pl.String:
        return given_label.str.strip_chars().is_in(["-1", "-1.0"]).fill_null(False)
    return (given_label == -1).fill_null(False) if dtype.is_signed_integer() or dtype.is_float() else pl.lit(False)


def _ambiguous_labels(table: RawTable, rank: int) -> Iterator[Fault]:
    """Labels -1 beside 0: one of them is no click, and the other one perhaps no label at all."""
    if LABEL not in table.frame.columns or given(LABEL) not in table.frame.columns:
        return
    is_minus = no_click_as_minus_one(pl.col(given(LABEL)), table.frame.schema[given(LABEL)])
    minus = table.frame.with_columns(is_minus.alias(LABEL))[LABEL]
    if minus.any() and table.has_zero_labels():
        wrong = "a second value of no click, beside 0; name both in data.columns.label: {column: …, positive: […], negative: […]}"
        yield Fault(LABEL, minus, wrong, rank)


def _impossible_times(table: RawTable, rank: int) -> Iterator[Fault]:
    values = table.frame[TIMESTAMP]
    if (values.min() or 0) < 0:  # type: ignore[operator]
        is_order = table.raw.timestamp_unit == "order"
        wrong = "a negative position" if is_order else "a time before 1970"
        yield Fault(TIMESTAMP, (values < 0).fill_null(False), wrong, rank, is_time=True)
    if table.raw.timestamp_unit == "order":
        return
    _, high = _plausible(table.raw.timestamp_unit)
    if (values.max() or 0) > high:  # type: ignore[operator]
        wrong = f"in the future ({table.raw.timestamp_unit}, more than a day after now)"
        yield Fault(TIMESTAMP, (values > high).fill_null(False), wrong, rank + 1, is_time=True)


def _contradicting_rows(table: RawTable, rank: int) -> Iterator[Fault]:
    """Rows that repeat an item or a user with other fields than its row that sorts first, wherever that is in the file."""
    frame, key = table.frame, ROLES[table.name]
    if frame[key].n_unique() == frame.height:
        return
    fields = [spec.name for spec in table.raw.fields if spec.role == key]
    unreadable = {fault.column: frame[key].is_in(frame[key].filter(fault.bad).implode()) for fault in unreadable_values(table)}
    first = frame.select(key, *fields).sort(fields, nulls_last=True).unique(subset=key, keep="first", maintain_order=True)
    firsts = frame.select(key).join(first, on=key, how="left", maintain_order="left", nulls_equal=True)
    for place, name in enumerate(fields):
        other = frame[name].ne_missing(firsts[name]) & frame[key].is_not_null()
        if name in unreadable:  # told as such already
            other = other & ~unreadable[name].fill_null(False)
        if other.any():
            yield Fault(name, other, f"contradicts another row of the same {key}", rank + place)


def _plausible(unit: str) -> tuple[int, int]:
    ticks = TICKS_PER_SECOND[unit]
    return CLICK_LOGS_SINCE_SECONDS * ticks, plausible_now_seconds() * ticks


def _wrong_unit(where: str, foreign: int, unit: str, other: str, total: int) -> str:
    if foreign < total:
        return f"{where}: mixed units: {foreign:,} of {total:,} rows look like {other}, not {unit}; convert the column to one unit."
    remedy = "convert the column" if other == "nanoseconds" else f"set data.timestamp_unit={other}, or convert the column"
    return f"{where}: all timestamps look like {other}, not {unit}; {remedy}."
