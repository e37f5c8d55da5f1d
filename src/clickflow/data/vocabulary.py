"""Vocabularies: raw id <-> index, fitted on train only. Index 0 is the unknown id."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

RAW, INDEX, COUNT = "raw", "index", "count"


@dataclass(frozen=True)
class Vocabulary:
    """The known ids of one field.

    Attributes:
        table: columns ``raw`` (integer or string), ``index`` (1 ... V, the most frequent first, ties by raw id), ``count`` (in train).
    """

    table: pl.DataFrame

    @classmethod
    def fit(cls, raw: pl.Series, counts: NDArray[np.int64] | None = None) -> "Vocabulary":
        """Fit on the raw ids of train.

        Args:
            raw: ids; nulls are left out; each row counts once, or ``counts`` times.
            counts: (len(raw),) weight of each row; rows of weight 0 are left out.
        """
        frame = pl.DataFrame({RAW: raw, COUNT: np.ones(len(raw), np.int64) if counts is None else counts})
        table = (
            frame.filter(pl.col(RAW).is_not_null() & (pl.col(COUNT) > 0))
            .group_by(RAW)
            .agg(pl.col(COUNT).sum())
            .sort([COUNT, RAW], descending=[True, False])
            .with_row_index(INDEX, offset=1)
            .select(RAW, pl.col(INDEX).cast(pl.Int32), pl.col(COUNT).cast(pl.Int64))
        )
        return cls(table)

    def __len__(self) -> int:
        """Rows of the embedding table: the known ids and the unknown one."""
        return self.table.height + 1

    def encode(self, raw: pl.Series) -> NDArray[np.int32]:
        """(R,) raw ids -> (R,) indices; 0 for an unknown or missing id."""
        joined = pl.DataFrame({RAW: raw}).join(self.table.select(RAW, INDEX), on=RAW, how="left", maintain_order="left")
        return joined[INDEX].fill_null(0).to_numpy()
