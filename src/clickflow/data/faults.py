"""Faults of single rows, and how a message points at them.

A fault is a boolean mask over a table in memory and a sentence. The mask is computed only after a null count, a minimum or a
maximum has shown that there is a fault. The same mask serves the message and ``data.on_bad_rows=drop``. A value of an optional field
that cannot be read costs that value and not its row.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

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


class Fault(NamedTuple):
    """Rows of a table that share a fault of one column.

    Attributes:
        column: canonical name.
        bad: Boolean, one value per row, no nulls.
        wrong: what is wrong with them, as worded in a message.
    """

    column: str
    bad: pl.Series
    wrong: str


@dataclass(frozen=True)
class RawTable:
    """One table of a log in memory, in the order of its files.

    Attributes:
        name: ``interactions``, ``behaviours``, ``items`` or ``users``.
        frame: canonical columns and their companions (see :mod:`clickflow.data.sources.columns`).
        raw: its origin and the column names of its files.
    """

    name: str
    frame: pl.DataFrame
    raw: RawLog

    @property
    def origin(self) -> str:
        """The file or files."""
        return self.raw.origins.get(self.name) or self.name

    def column(self, name: str) -> str:
        """Name of a canonical column in the user's file."""
        return self.raw.columns.get(qualified(self.name, name), name)

    def expected(self, name: str) -> str:
        """What a value of a canonical column should have been."""
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

    @property
    def num_rows(self) -> int:
        """Rows of its files, with those that could not be read, without those that the config leaves out."""
        return self.frame.height + self.refused.count

    def finding(self, fault: Fault) -> str:
        """File, column, first row and its value, what is wrong."""
        index = fault.bad.arg_max()
        assert index is not None
        file, row = self.file_and_row(index)
        more = int(fault.bad.sum()) - 1
        like = f" (and so in {more:,} more row{'s' if more > 1 else ''})" if more else ""
        return f"{file}, column '{self.column(fault.column)}', row {row:,} = {self.value(fault.column, index)}: {fault.wrong}{like}"

    def file_and_row(self, index: int) -> tuple[str, int]:
        """The file, and the row in it counted from 1."""
        file, position = self.origin, index
        if FILE in self.frame.columns:
            files = self.frame[FILE]
            first = (files == files[index]).arg_max()
            assert first is not None
            file, position = str(files[index]), index - first
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


def row_faults(table: RawTable, unit_is_right: bool = True) -> Iterator[Fault]:
    """All faults of single rows.

    Missing and unreadable ids, times, labels and ratings; lists with an unreadable element; times before 1970 or in the future, unless
    the unit is wrong already (:func:`wrong_unit`); rows of an item table that contradict each other.
    """
    for name in (USER, ITEM, TIMESTAMP, LABEL, RATING, SPLIT, CANDIDATES, CLICKED, GIVEN_HISTORY):
        if name in table.frame.columns and table.frame[name].null_count():
            yield from _missing_or_unreadable(table, name)
    yield from _ambiguous_labels(table)
    if unit_is_right and TIMESTAMP in table.frame.columns:
        yield from _impossible_times(table)
    if table.name in ROLES:
        yield from _contradicting_rows(table)


def wrong_unit(table: RawTable) -> str | None:
    """A sentence about timestamps that look like another unit than the declared one or like no times at all, or None.

    The magnitude tells: Unix seconds, milli-, micro- and nanoseconds from 1990 to tomorrow are four ranges far apart. Nobody logged
    clicks before.
    """
    if TIMESTAMP not in table.frame.columns or (unit := table.raw.timestamp_unit) == "order":
        return None
    values = table.frame[TIMESTAMP]
    low, high = _plausible(unit)
    if (values.min() or 0) >= low and (values.max() or 0) <= high:  # type: ignore[operator]
        return None
    for other in TICKS_PER_SECOND:
        foreign = 0 if other == unit else int(values.is_between(*_plausible(other)).sum())
        if foreign:
            return _wrong_unit(table, unit, other, foreign)
    if (latest := values.max()) is None or latest >= low:  # type: ignore[operator]
        return None
    index = values.is_not_null().arg_max()
    assert index is not None
    file, row = table.file_and_row(index)
    return (
        f"{file}, column '{table.column(TIMESTAMP)}', row {row:,} = {table.value(TIMESTAMP, index)}: all times are before 1990, read as "
        f"{unit} since 1970; set data.timestamp_format for dates that are integers (20240531 is %Y%m%d), data.timestamp_unit=order for "
        "positions, or convert the column."
    )


def unreadable_values(table: RawTable) -> Iterator[Fault]:
    """Values of optional fields that are there and cannot be read; they count as missing.

    A numeric field may be missing (null, NaN, empty text), but must otherwise be a number.
    """
    for spec in table.raw.fields:
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
            yield Fault(spec.name, unreadable, f"not {table.expected(spec.name)}")


def plausible_now_seconds() -> int:
    """The latest Unix second a log can hold: clocks may differ by a day."""
    return int(time.time()) + DAY_SECONDS


def _missing_or_unreadable(table: RawTable, name: str) -> Iterator[Fault]:
    absent = table.frame[name].is_null()
    if given(name) in table.frame.columns:
        original = table.frame[given(name)]
        unreadable = absent & (original.is_not_null() if original.dtype != pl.String else (original != "").fill_null(False))
        if unreadable.any():
            yield Fault(name, unreadable, f"not {table.expected(name)}")
        absent = absent & ~unreadable
    if absent.any():
        yield Fault(name, absent, f"missing, and every row needs {'an' if name == ITEM else 'a'} {name.removeprefix('given ')}")


def _ambiguous_labels(table: RawTable) -> Iterator[Fault]:
    """Labels -1 beside 0: one of them is no click, and the other one perhaps no label at all."""
    if LABEL not in table.frame.columns or given(LABEL) not in table.frame.columns:
        return
    original = table.frame[given(LABEL)]
    if original.dtype == pl.String:
        minus = original.str.strip_chars().is_in(["-1", "-1.0"])
    elif original.dtype.is_signed_integer() or original.dtype.is_float():
        minus = original == -1
    else:
        return
    minus = minus.fill_null(False)
    if minus.any() and ((table.frame[LABEL] == 0) & ~minus).any():
        yield Fault(
            LABEL, minus, "a second value of no click, beside 0; name both in data.columns.label: {column: …, positive: […], negative: […]}"
        )


def _impossible_times(table: RawTable) -> Iterator[Fault]:
    values = table.frame[TIMESTAMP]
    if (values.min() or 0) < 0:  # type: ignore[operator]
        is_order = table.raw.timestamp_unit == "order"
        yield Fault(TIMESTAMP, (values < 0).fill_null(False), "a negative position" if is_order else "a time before 1970")
    if table.raw.timestamp_unit == "order":
        return
    _, high = _plausible(table.raw.timestamp_unit)
    if (values.max() or 0) > high:  # type: ignore[operator]
        yield Fault(TIMESTAMP, (values > high).fill_null(False), f"in the future ({table.raw.timestamp_unit}, more than a day after now)")


def _contradicting_rows(table: RawTable) -> Iterator[Fault]:
    """Rows that repeat an item or a user with other fields than its row that sorts first, wherever that is in the file."""
    frame, key = table.frame, ROLES[table.name]
    if frame[key].n_unique() == frame.height:
        return
    fields = [spec.name for spec in table.raw.fields if spec.role == key]
    unreadable = {fault.column: frame[key].is_in(frame[key].filter(fault.bad).implode()) for fault in unreadable_values(table)}
    first = frame.select(key, *fields).sort(fields, nulls_last=True).unique(subset=key, keep="first", maintain_order=True)
    firsts = frame.select(key).join(first, on=key, how="left", maintain_order="left", nulls_equal=True)
    for name in fields:
        other = frame[name].ne_missing(firsts[name]) & frame[key].is_not_null()
        if name in unreadable:  # told as such already
            other = other & ~unreadable[name].fill_null(False)
        if other.any():
            yield Fault(name, other, f"contradicts another row of the same {key}")


def _plausible(unit: str) -> tuple[int, int]:
    ticks = TICKS_PER_SECOND[unit]
    return CLICK_LOGS_SINCE_SECONDS * ticks, plausible_now_seconds() * ticks


def _wrong_unit(table: RawTable, unit: str, other: str, foreign: int) -> str:
    index = table.frame[TIMESTAMP].is_between(*_plausible(other)).fill_null(False).arg_max()
    assert index is not None
    file, row = table.file_and_row(index)
    where = f"{file}, column '{table.column(TIMESTAMP)}', row {row:,} = {table.value(TIMESTAMP, index)}"
    total = table.frame.height
    if foreign < total:
        return f"{where}: mixed units: {foreign:,} of {total:,} rows look like {other}, not {unit}; convert the column to one unit."
    remedy = "convert the column" if other == "nanoseconds" else f"set data.timestamp_unit={other}, or convert the column"
    return f"{where}: all timestamps look like {other}, not {unit}; {remedy}."
