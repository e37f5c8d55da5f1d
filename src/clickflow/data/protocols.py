"""Protocols: which rows are impressions, where their histories end, and which split they belong to.

One mechanism serves all: behaviours are sorted once by (user, time), and an impression's history is a half-open range of their rows that
ends at or before the impression. So no history can hold its own target or anything after it, under any protocol.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from clickflow.config import Contradictions, StrictConfig
from clickflow.data.arrays import ByteArray, FloatArray, IntArray
from clickflow.data.splits import last_two, split_by_time, split_by_user

Share = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True)
class Behaviours:
    """N behaviours sorted by (group, timestamp), ties in the order of the log.

    Attributes:
        group: (N,) user.
        item: (N,).
        timestamp: (N,).
        source_row: (N,) row of the interactions that each behaviour came from.
        starts: (U + 1,) range of each user's behaviours.
    """

    group: IntArray
    item: IntArray
    timestamp: IntArray
    source_row: IntArray
    starts: IntArray


@dataclass(frozen=True)
class Interactions:
    """R rows of the log as it came.

    Attributes:
        group: (R,) user.
        item: (R,).
        timestamp: (R,).
        label: (R,) 0 or 1, if the log has labels.
        rating: (R,), if it has ratings.
    """

    group: IntArray
    item: IntArray
    timestamp: IntArray
    label: ByteArray | None = None
    rating: FloatArray | None = None


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
        split: TRAIN, VALIDATION or TEST.
        source_row: row of the interactions that user and context fields are taken from.
    """

    group: IntArray
    item: IntArray
    timestamp: IntArray
    history_start: IntArray
    history_end: IntArray
    label: ByteArray
    split: ByteArray
    source_row: IntArray


class _Fractions(StrictConfig):
    """Shares of the splits; the rest is train."""

    validation_fraction: Share = 0.1
    """Share of the validation split."""
    test_fraction: Share = 0.1
    """Share of the test split."""

    def _contradictions(self) -> Contradictions:
        if self.validation_fraction + self.test_fraction >= 1:
            yield (
                "validation_fraction",
                f"= {self.validation_fraction} leaves no train rows beside test_fraction = {self.test_fraction}; their sum must be below 1",
            )


class NextItemConfig(StrictConfig):
    """Every behaviour except a user's first is a positive, with one sampled negative; split per user (DIN on Amazon).

    The last behaviour of a user is test, the second last validation, the rest train. The history ends at the behaviour itself, by
    position: Amazon's timestamps are days.
    """

    name: Literal["next_item"] = "next_item"
    negatives: Literal["uniform", "popularity"] = "uniform"
    """How a negative is drawn among the items that the user never acted on."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the negatives."""

    def impressions(self, interactions: Interactions, behaviours: Behaviours) -> Impressions:
        """The positives; negatives are drawn once the vocabulary is known."""
        is_first = np.zeros(len(behaviours.group) + 1, bool)
        is_first[behaviours.starts] = True
        rows = np.flatnonzero(~is_first[:-1])
        group = behaviours.group[rows]
        return Impressions(
            group=group,
            item=behaviours.item[rows],
            timestamp=behaviours.timestamp[rows],
            history_start=behaviours.starts[group],
            history_end=rows,
            label=np.ones(len(rows), np.uint8),
            split=last_two(rows, behaviours.starts[group + 1]),
            source_row=behaviours.source_row[rows],
        )


class RatingConfig(_Fractions):
    """Every rating is a row with label = rating >= threshold; the history is what the user rated before (DIN on MovieLens)."""

    name: Literal["rating"] = "rating"
    threshold: float = 4.0
    """The lowest rating that counts as a click."""
    split: Literal["user", "time"] = "user"
    """Whole users (as in the paper), or everything after a moment."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the users' split."""

    def impressions(self, interactions: Interactions, behaviours: Behaviours) -> Impressions:
        """All ratings, in the order of the log."""
        assert interactions.rating is not None
        if self.split == "user":
            num_users = len(behaviours.starts) - 1
            split = split_by_user(interactions.group, num_users, self.validation_fraction, self.test_fraction, self.seed)
        else:
            split = split_by_time(interactions.timestamp, self.validation_fraction, self.test_fraction)
        return _given_rows(interactions, behaviours, (interactions.rating >= self.threshold).astype(np.uint8), split)


class ImpressionsConfig(_Fractions):
    """Every row of the log is an impression with its label; its history is strictly earlier; split by time (clicks and non-clicks)."""

    name: Literal["impressions"] = "impressions"

    def impressions(self, interactions: Interactions, behaviours: Behaviours) -> Impressions:
        """All interactions, in the order of the log."""
        assert interactions.label is not None
        split = split_by_time(interactions.timestamp, self.validation_fraction, self.test_fraction)
        return _given_rows(interactions, behaviours, interactions.label, split)


ProtocolConfig = Annotated[NextItemConfig | RatingConfig | ImpressionsConfig, Field(discriminator="name")]


def _given_rows(interactions: Interactions, behaviours: Behaviours, label: ByteArray, split: ByteArray) -> Impressions:
    """Every interaction is an impression; its history is the strictly earlier behaviours."""
    group = interactions.group
    return Impressions(
        group=group,
        item=interactions.item,
        timestamp=interactions.timestamp,
        history_start=behaviours.starts[group],
        history_end=strictly_before(behaviours, group, interactions.timestamp),
        label=label,
        split=split,
        source_row=np.arange(len(group)),
    )


def sort_behaviours(group: IntArray, item: IntArray, timestamp: IntArray, source_row: IntArray, num_users: int) -> Behaviours:
    """Sort by (group, timestamp), ties in the order given."""
    moment, num_moments = _clock(timestamp, num_users)
    order = np.argsort(group * num_moments + moment(timestamp), kind="stable")
    group = group[order]
    starts = np.searchsorted(group, np.arange(num_users + 1))
    return Behaviours(group, item[order], timestamp[order], source_row[order], starts)


def strictly_before(behaviours: Behaviours, group: IntArray, timestamp: IntArray) -> IntArray:
    """One past a user's last behaviour that is strictly earlier than a moment: an as-of join by one binary search.

    Args:
        behaviours: sorted by (group, timestamp).
        group: (R,) user of each row.
        timestamp: (R,).

    Returns:
        (R,) row of ``behaviours``, not before the start of the user's own.
    """
    moment, num_moments = _clock(behaviours.timestamp, len(behaviours.starts) - 1)
    key = behaviours.group * num_moments + moment(behaviours.timestamp)
    return np.searchsorted(key, group * num_moments + moment(timestamp))


def _clock(timestamp: IntArray, num_users: int) -> tuple[Callable[[IntArray], IntArray], int]:
    """Small numbers 0 ... M - 1 for moments, so that (user, moment) fits into one integer and sorts fast.

    Args:
        timestamp: (N,) the moments that need distinct numbers; other moments may share a number with a neighbour, in order.
        num_users: number of users that the integer must leave room for.

    Returns:
        a function from (R,) timestamps to (R,) numbers, and M.
    """
    if not len(timestamp):
        return np.zeros_like, 1
    first, last = int(timestamp.min()), int(timestamp.max())
    if (last - first + 2) * num_users < 2**63:
        return lambda moments: np.clip(moments, first, last) - first + (moments > last), last - first + 2
    ordered = np.sort(timestamp)
    return lambda moments: np.searchsorted(ordered, moments), len(ordered) + 1
