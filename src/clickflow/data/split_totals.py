"""Totals of a log's splits and histories for its summary, added up part by part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from clickflow.data.arrays import IntArray, distinct
from clickflow.data.manifest import SplitSummary
from clickflow.data.rows import PartRows
from clickflow.data.splits import SPLITS
from clickflow.data.tallies import ROWS, Tally

HISTORY_QUANTILES = (10, 25, 50, 75, 90, 99, 100)
"""Per cent."""
LENGTH = "length"


@dataclass
class _Split:
    rows: int = 0
    positives: int = 0
    users: int = 0
    first: int = 0
    last: int = 0


class SplitTotals:
    """Totals of each split, without sampled negatives."""

    def __init__(self) -> None:
        self._splits = [_Split() for _ in SPLITS]
        self._lengths = Tally(LENGTH)

    @property
    def rows(self) -> list[int]:
        """Rows of each split."""
        return [split.rows for split in self._splits]

    def add(self, part: PartRows) -> None:
        """Add the rows of a part."""
        impressions = part.impressions
        self._lengths.add(pl.Series(impressions.history_end - impressions.history_start))
        for code, split in enumerate(self._splits):
            chosen = part.split == code
            moments = impressions.timestamp[chosen]
            if len(moments):
                first, last = int(moments.min()), int(moments.max())
                split.first, split.last = (min(split.first, first), max(split.last, last)) if split.rows else (first, last)
                split.rows += len(moments)
                split.positives += int(impressions.label[chosen].sum())
                split.users += len(distinct(impressions.group[chosen]))

    def summaries(self, rows: Mapping[str, int], lists: Sequence[int] | None) -> dict[str, SplitSummary]:
        """Summaries of the splits for the manifest.

        Args:
            rows: rows of each split, with sampled negatives.
            lists: lists of each split; None if the log names none.
        """
        return {
            name: SplitSummary(
                rows=rows[name],
                positives=split.positives,
                users=split.users,
                first_timestamp=split.first,
                last_timestamp=split.last,
                lists=None if lists is None else lists[code],
            )
            for code, (name, split) in enumerate(zip(SPLITS, self._splits, strict=True))
        }

    def history_lengths(self) -> dict[str, float]:
        """Mean and quantiles of the lengths of all histories."""
        table = self._lengths.table()
        lengths, rows = table[LENGTH].to_numpy(), table[ROWS].to_numpy()
        quantiles = _percentiles(lengths, rows, HISTORY_QUANTILES)
        named = {f"p{q}": value for q, value in zip(HISTORY_QUANTILES, quantiles, strict=True)}
        return named | {"mean": int((lengths * rows).sum()) / int(rows.sum())}


def _percentiles(values: IntArray, counts: IntArray, per_cent: Sequence[int]) -> list[float]:
    """As ``np.percentile`` of the sorted values, each repeated as often as it counts: linear between two neighbours."""
    ends = np.cumsum(counts)
    places = np.array(per_cent) / 100 * (ends[-1] - 1)
    below = np.floor(places)
    low, high = (values[np.searchsorted(ends, place, side="right")] for place in (below, np.minimum(below + 1, ends[-1] - 1)))
    share = places - below
    between = np.where(share < 0.5, low + (high - low) * share, high - (high - low) * (1 - share))
    return [float(value) for value in between]
