"""Sizes of the splits: shares of the rows, or the dates at which they begin and end."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Annotated

from pydantic import AfterValidator, Field

from clickflow.config import Contradictions, StrictConfig
from clickflow.data.arrays import IntArray
from clickflow.data.schema import TICKS_PER_SECOND, TimestampUnit
from clickflow.data.splits import TimeBounds, bounds_by_share
from clickflow.errors import DataError

DATES = ("train_from", "validation_from", "test_from", "test_until")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Share = Annotated[float, Field(gt=0, lt=1)]


def _moment(value: int | str) -> int | str:
    if isinstance(value, str):
        try:
            _parsed(value)
        except ValueError:
            raise ValueError("a date or date-time such as 2024-05-31 or 2024-05-31T18:00, or an integer in the log's unit") from None
    return value


def _parsed(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


Moment = Annotated[int | str, AfterValidator(_moment)]
"""A date or date-time in ISO 8601, UTC where it names no zone; or an integer in the unit of the log's timestamps."""


class SplitSizes(StrictConfig):
    """Shares of the splits, or dates."""

    validation_fraction: Share = 0.1
    """Share of the validation split."""
    test_fraction: Share = 0.1
    """Share of the test split; the rest is train."""
    train_from: Moment | None = None
    """First moment of the train split; earlier rows are in histories only. null: the log's first."""
    validation_from: Moment | None = None
    """First moment of the validation split, as a date or in the log's unit. null: by ``validation_fraction``."""
    test_from: Moment | None = None
    """First moment of the test split, as a date or in the log's unit. null: by ``test_fraction``."""
    test_until: Moment | None = None
    """First moment after the test split; rows from then on are left out. null: the log's end."""

    def _contradictions(self) -> Contradictions:
        if self.validation_fraction + self.test_fraction >= 1:
            yield (
                "validation_fraction",
                f"= {self.validation_fraction} leaves no train rows beside test_fraction = {self.test_fraction}; their sum must be below 1",
            )
        dates = self.dates
        for given, missing in (("validation_from", "test_from"), ("test_from", "validation_from")):
            if given in dates and missing not in dates:
                yield given, f"= {dates[given]} without {missing}: a split by dates needs both; set {missing} too"
        for (earlier, first), (later, second) in pairwise(dates.items()):
            if isinstance(first, int) != isinstance(second, int):
                yield later, f"= {second}, but {earlier} = {first}; write both as dates or both as integers"
            elif _tick(first, "microseconds") >= _tick(second, "microseconds"):
                yield later, f"= {second}: must be after {earlier} = {first}"

    @property
    def dates(self) -> dict[str, int | str]:
        """The dates that are set, by key."""
        return {name: moment for name in DATES if (moment := getattr(self, name)) is not None}

    def time_bounds(self, blocks: Callable[[], Iterable[IntArray]], unit: TimestampUnit) -> TimeBounds:
        """Split by dates, else by shares.

        Args:
            blocks: gives the moments of all rows, block by block, as often as it is called.
            unit: their unit.

        Raises:
            DataError: a date, where timestamps are positions.
        """
        ticks = {name: _tick(moment, unit) for name, moment in self.dates.items()}
        bounds = TimeBounds(**{"validation_from": 0, "test_from": 0} | ticks)
        if "validation_from" in ticks:
            return bounds
        return bounds_by_share(blocks, self.validation_fraction, self.test_fraction, bounds)

    def refuse_dates_without_rows(self, counts: Sequence[int], first: int, last: int, unit: TimestampUnit) -> None:
        """Raise DataError if dates leave a split without rows.

        Args:
            counts: rows of each split.
            first: moment of the first row of the log.
            last: moment of the last one.
            unit: their unit.
        """
        if self.dates and not all(counts):
            given = ", ".join(f"{name} = {moment}" for name, moment in self.dates.items())
            log = f"{_shown(first, unit)} to {_shown(last, unit)}"
            raise DataError(f"protocol: {given}: leaves a split without rows; rows are from {log}; choose dates between them.")


def _shown(tick: int, unit: TimestampUnit) -> str:
    """A timestamp as the config may write it: as a number, and as a date where it is one."""
    return str(tick) if unit == "order" else f"{tick} ({EPOCH + timedelta(seconds=tick / TICKS_PER_SECOND[unit]):%Y-%m-%dT%H:%M})"


def _tick(moment: int | str, unit: TimestampUnit) -> int:
    """A moment in the unit of a log's timestamps."""
    if isinstance(moment, int):
        return moment
    if unit == "order":
        raise DataError(f"protocol: {moment} is a date, but data.timestamp_unit is order, a position without a clock; write a position.")
    microseconds = (_parsed(moment) - EPOCH) // timedelta(microseconds=1)
    return microseconds * TICKS_PER_SECOND[unit] // TICKS_PER_SECOND["microseconds"]
