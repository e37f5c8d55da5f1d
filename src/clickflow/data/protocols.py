"""Protocols: which rows are impressions, where their histories end, and which split they belong to.

One mechanism serves all: behaviours are sorted once by (user, time), and an impression's history is a half-open range of their rows that
ends before the impression's moment. So no history can hold its own target or anything after it, under any protocol.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from clickflow.config import Contradictions
from clickflow.data.arrays import ByteArray, FloatArray, IntArray
from clickflow.data.behaviours import Behaviours, known_before, strictly_before
from clickflow.data.schema import TimestampUnit
from clickflow.data.split_sizes import SplitSizes
from clickflow.data.splits import last_two, split_by_user


@dataclass(frozen=True)
class Interactions:
    """R rows of the log, in the order of :func:`~clickflow.data.behaviours.time_order`.

    Attributes:
        group: (R,) user.
        item: (R,).
        timestamp: (R,).
        source_row: (R,) row of the table that each came from.
        unit: unit of the timestamps.
        label: (R,) 0 or 1, if the log has labels.
        rating: (R,), if it has ratings.
        split: (R,) code of the split that the log itself names, if it does.
        history: (R,) number of the history that each row brings, if they do; the behaviours are then grouped by it.
    """

    group: IntArray
    item: IntArray
    timestamp: IntArray
    source_row: IntArray
    unit: TimestampUnit = "seconds"
    label: ByteArray | None = None
    rating: FloatArray | None = None
    split: ByteArray | None = None
    history: IntArray | None = None


@dataclass(frozen=True)
class Impressions:
    """R labelled rows; all arrays (R,).

    Attributes:
        group: user.
        item: target.
        timestamp: of the impression.
        history_start: first row of the history in the behaviours.
        history_end: one past its last row.
        label: 0 or 1.
        split: TRAIN, VALIDATION, TEST or NO_SPLIT; None if the whole log decides (:meth:`_Protocol.split_rule`).
        source_row: row of the interactions that user and context fields are taken from.
    """

    group: IntArray
    item: IntArray
    timestamp: IntArray
    history_start: IntArray
    history_end: IntArray
    label: ByteArray
    split: ByteArray | None
    source_row: IntArray


SplitRule = Callable[[IntArray, IntArray], ByteArray]
"""(R,) users, among all of the log, and (R,) moments of impressions -> (R,) codes of their splits."""


class _Protocol(SplitSizes):
    """Options that all protocols share."""

    history_lag: Annotated[int, Field(ge=0)] = 0
    """Seconds (positions, where ``timestamp_unit`` is order) after which a behaviour is known; younger ones are in no history."""

    def known_before(self, timestamp: IntArray, unit: TimestampUnit) -> IntArray:
        """The moments before which a behaviour must be, to be known at others: (R,) -> (R,)."""
        return known_before(timestamp, self.history_lag, unit)

    def split_rule(self, num_users: int, blocks: Callable[[], Iterable[IntArray]], unit: TimestampUnit) -> SplitRule:
        """The split of impressions that the whole log decides: by time.

        Args:
            num_users: users of the log.
            blocks: gives the moments of all impressions, block by block, as often as it is called.
            unit: their unit.
        """
        bounds = self.time_bounds(blocks, unit)
        return lambda group, timestamp: bounds.split(timestamp)

    def _date_contradictions(self, split: str) -> Contradictions:
        if split != "time":
            for name, moment in self.dates.items():
                yield name, f"= {moment}: a date splits by time, but split = {split}; set protocol.split=time or remove the date"


class NextItemConfig(_Protocol):
    """Every behaviour after a user's first moment is a positive, with one sampled negative (DIN on Amazon)."""

    name: Literal["next_item"] = "next_item"
    split: Literal["leave_one_out", "time"] = "leave_one_out"
    """Per user, the last moment is test, the second last validation, the rest train; or everything after a moment, for all users."""
    ties: Literal["exclude", "position"] = "exclude"
    """Behaviours of one user and moment: never in each other's history, or in a seeded order (the papers' code, on days)."""
    negatives: Literal["uniform", "popularity"] = "uniform"
    """Weights by which a negative is drawn among the items that the user never acted on."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the negatives, and of the order within a moment."""

    def _contradictions(self) -> Contradictions:
        yield from super()._contradictions()
        yield from self._date_contradictions(self.split)
        if self.ties == "position" and self.history_lag:
            yield "history_lag", f"= {self.history_lag}: a lag is a time, but ties = position goes by position; set ties=exclude"

    def impressions(self, interactions: Interactions, behaviours: Behaviours) -> Impressions:
        """The positives; negatives are drawn once the vocabulary is known. Equal events must have been removed."""
        by_position = self.ties == "position"
        places = np.arange(len(behaviours.group)) if by_position else behaviours.moment_starts
        rows = np.flatnonzero(places > behaviours.starts[behaviours.group])
        group, timestamp = behaviours.group[rows], behaviours.timestamp[rows]
        split = None
        if interactions.split is not None:
            given = np.empty_like(interactions.split)
            given[interactions.source_row] = interactions.split
            split = given[behaviours.source_row[rows]]
        elif self.split == "leave_one_out" and len(places):
            split = last_two(places, behaviours.starts, behaviours.group)[rows]
        if self.history_lag:
            history_end = strictly_before(behaviours, group, self.known_before(timestamp, interactions.unit))
        else:
            history_end = places[rows]
        return Impressions(
            group=group,
            item=behaviours.item[rows],
            timestamp=timestamp,
            history_start=behaviours.starts[group],
            history_end=history_end,
            label=np.ones(len(rows), np.uint8),
            split=split,
            source_row=behaviours.source_row[rows],
        )


class RatingConfig(_Protocol):
    """Every rating is a row with label = rating >= threshold; the history is what the user rated before (DIN on MovieLens)."""

    name: Literal["rating"] = "rating"
    threshold: float = 4.0
    """The lowest rating that counts as a click."""
    split: Literal["user", "time"] = "user"
    """Whole users (as in the paper), or everything after a moment."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the users' split."""

    def _contradictions(self) -> Contradictions:
        yield from super()._contradictions()
        yield from self._date_contradictions(self.split)

    def impressions(self, interactions: Interactions, behaviours: Behaviours) -> Impressions:
        """All ratings, by user and time."""
        assert interactions.rating is not None
        return _given_rows(self, interactions, behaviours, (interactions.rating >= self.threshold).astype(np.uint8))

    def split_rule(self, num_users: int, blocks: Callable[[], Iterable[IntArray]], unit: TimestampUnit) -> SplitRule:
        """By user or by time."""
        if self.split == "time":
            return super().split_rule(num_users, blocks, unit)
        of_user = split_by_user(np.arange(num_users), num_users, self.validation_fraction, self.test_fraction, self.seed)
        return lambda group, timestamp: of_user[group]


class ImpressionsConfig(_Protocol):
    """Every row of the log is an impression with its label; its history is strictly earlier; split by time (clicks and non-clicks)."""

    name: Literal["impressions"] = "impressions"

    def impressions(self, interactions: Interactions, behaviours: Behaviours) -> Impressions:
        """All interactions, by user and time."""
        assert interactions.label is not None
        return _given_rows(self, interactions, behaviours, interactions.label)


ProtocolConfig = Annotated[NextItemConfig | RatingConfig | ImpressionsConfig, Field(discriminator="name")]


def _given_rows(protocol: _Protocol, interactions: Interactions, behaviours: Behaviours, label: ByteArray) -> Impressions:
    """Every interaction is an impression; its history is the one that it brings, or the strictly earlier behaviours that are known."""
    group = interactions.group
    if interactions.history is None:
        start = behaviours.starts[group]
        end = strictly_before(behaviours, group, protocol.known_before(interactions.timestamp, interactions.unit))
    else:
        start, end = behaviours.starts[interactions.history], behaviours.starts[interactions.history + 1]
    return Impressions(
        group=group,
        item=interactions.item,
        timestamp=interactions.timestamp,
        history_start=start,
        history_end=end,
        label=label,
        split=interactions.split,
        source_row=interactions.source_row,
    )
