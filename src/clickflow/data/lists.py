"""Lists: the rows of a log that were ranked together, such as those of one request or one page of a session.

A list's number is the position of its first impression, since sorting the raw ids would take several times as long. A list may have rows
of several users and so of several parts: the lists are looked up once more over all parts, in buckets that hold all rows of a list.
"""

import sys
from pathlib import Path

import numpy as np
import polars as pl

from clickflow.data.arrays import IntArray
from clickflow.data.rows import PartRows
from clickflow.data.schema import LIST
from clickflow.data.scratch import FrameSpool
from clickflow.data.splits import SPLITS

NO_LIST = -1
"""Number of a row that is in no list."""
NUMBER, FIRST, ROW, MIXED, BUCKET = "number", "first number", "row", "several users", "bucket"


class Lists:
    """The lists of a log, numbered in two rounds over its parts.

    Attributes:
        num_rows: impressions that were looked at.
        counts: what users should know about their lists, by name; whole after :meth:`settle`.
        num_lists: lists of each split; whole after :meth:`settle`.
    """

    def __init__(self, folder: Path | None, num_parts: int) -> None:
        """Start without a row; ``folder`` is where lists wait, None to keep them in memory."""
        self.num_rows = 0
        self.counts = {"rows_without_list": 0, "lists_of_several_users": 0, "lists_in_several_splits": 0}
        self.num_lists = [0] * len(SPLITS)
        limit_bytes = sys.maxsize if folder is None else 0
        self._buckets = [FrameSpool((folder or Path()) / f"{bucket}.arrow", limit_bytes) for bucket in range(num_parts)]
        self._moved = pl.DataFrame(schema={NUMBER: pl.Int64, FIRST: pl.Int64})

    def add(self, part: PartRows) -> None:
        """Look at the rows of the next part."""
        rows = _raw_lists(part).with_columns(group=part.impressions.group, **{name: part.split == code for code, name in enumerate(SPLITS)})
        self.counts["rows_without_list"] += rows[LIST].null_count()
        is_mixed = pl.col("group").min() != pl.col("group").max()
        lists = rows.drop_nulls(LIST).group_by(LIST).agg(pl.col(ROW).min() + self.num_rows, is_mixed.alias(MIXED), pl.col(*SPLITS).any())
        self.num_rows += rows.height
        bucket = lists[LIST].hash() % len(self._buckets)  # nothing but this run depends on it
        for (number,), some in lists.with_columns(bucket.alias(BUCKET)).partition_by(BUCKET, as_dict=True, include_key=False).items():
            self._buckets[number].append(some)

    def settle(self) -> None:
        """Bring together the lists of all parts; no rows may be added afterwards."""
        moved = [self._moved]
        for bucket in self._buckets:
            if not bucket.num_rows:
                continue
            pieces = bucket.whole()
            bucket.discard()
            lists = pieces.group_by(LIST).agg(
                pl.col(ROW).min().alias(FIRST),
                pl.col(ROW).alias(NUMBER),
                (pl.col(MIXED).any() | (pl.len() > 1)).alias(MIXED),
                pl.col(*SPLITS).any(),
            )
            self.counts["lists_of_several_users"] += int(lists[MIXED].sum())
            in_splits = lists.select(pl.col(*SPLITS).cast(pl.Int64))
            self.counts["lists_in_several_splits"] += int((in_splits.sum_horizontal() > 1).sum())
            self.num_lists = [total + int(in_splits[name].sum()) for total, name in zip(self.num_lists, SPLITS, strict=True)]
            moved.append(lists.select(NUMBER, FIRST).explode(NUMBER).filter(pl.col(NUMBER) != pl.col(FIRST)))
        self._moved = pl.concat(moved)

    def numbers(self, part: PartRows, first_row: int) -> IntArray:
        """(R,) number of the list of each impression of a part, ``NO_LIST`` for none; ``first_row`` impressions are in the parts before."""
        numbered = _raw_lists(part).with_columns((pl.col(ROW).min().over(LIST) + first_row).alias(NUMBER))
        settled = numbered.join(self._moved, on=NUMBER, how="left", maintain_order="left")
        number = pl.when(pl.col(LIST).is_null()).then(NO_LIST).otherwise(pl.coalesce(FIRST, NUMBER))
        return settled.select(number).to_series().to_numpy()


def _raw_lists(part: PartRows) -> pl.DataFrame:
    """Raw list and position of the impressions of a part."""
    lists = part.source[LIST].gather(part.impressions.source_row)
    return pl.DataFrame({LIST: lists, ROW: np.arange(len(lists))})
