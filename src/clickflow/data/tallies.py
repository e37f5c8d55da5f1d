"""Different values of a column that comes in pieces: memory is for the different values, not for the rows."""

import numpy as np
import polars as pl

from clickflow.data.arrays import distinct

ROWS = "rows"
SMALLEST_MERGE = 1_000_000


class Tally:
    """Counts of the values of a column."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._merged: pl.DataFrame | None = None
        self._pieces: list[pl.DataFrame] = []
        self._waiting = 0

    def add(self, values: pl.Series) -> None:
        """Count more rows; nulls are left out."""
        piece = values.alias(self._name).to_frame().drop_nulls().group_by(self._name).agg(pl.len().cast(pl.Int64).alias(ROWS))
        self._pieces.append(piece)
        self._waiting += piece.height
        # Whoever waits until there is as much again merges each value a few times, however many pieces there are.
        if self._waiting > max(SMALLEST_MERGE, 0 if self._merged is None else self._merged.height):
            self._merge()

    @property
    def has_values(self) -> bool:
        """Whether rows were looked at."""
        return self._merged is not None or bool(self._pieces)

    def table(self) -> pl.DataFrame:
        """The values in order, and the ``rows`` of each."""
        if self._pieces:
            self._merge()
        assert self._merged is not None
        return self._merged.sort(self._name)

    def _merge(self) -> None:
        pieces = self._pieces if self._merged is None else [self._merged, *self._pieces]
        self._merged = pieces[0] if len(pieces) == 1 else pl.concat(pieces).group_by(self._name).agg(pl.col(ROWS).sum())
        self._pieces, self._waiting = [], 0


class DifferentNumbers:
    """Number of different numbers in a column; each takes 8 bytes."""

    def __init__(self) -> None:
        self._merged = np.zeros(0)
        self._pieces: list[np.ndarray[tuple[int], np.dtype[np.float64]]] = []

    def add(self, values: pl.Series) -> None:
        """Look at more rows; nulls are left out."""
        self._pieces.append(values.drop_nulls().unique().cast(pl.Float64).to_numpy())
        if sum(map(len, self._pieces)) > max(SMALLEST_MERGE, len(self._merged)):
            self._merge()

    def __len__(self) -> int:
        self._merge()
        return len(self._merged)

    def _merge(self) -> None:
        together = np.concatenate([self._merged, *self._pieces])
        together.sort()
        self._merged, self._pieces = distinct(together), []
