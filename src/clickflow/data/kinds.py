"""Kinds of behaviours (view, buy ...): numbers beside the item of each behaviour, for models to use."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clickflow.data.rows import PartRows
from clickflow.data.schema import KIND
from clickflow.data.tallies import ROWS, Tally
from clickflow.data.validation import CheckedLog
from clickflow.data.vocabulary import Vocabulary
from clickflow.errors import DataError

COUNTED = "kind: "
"""Prefix of the counts of behaviours by kind."""
MAX_KINDS = 255


class Kinds:
    """Kinds of the behaviours of a log, counted part by part.

    Events of several kinds that are one event otherwise (``next_item``: equal user, item and moment) have the kind that sorts first.

    Attributes:
        counts: number of behaviours of each kind, by name; whole after :meth:`fit`.
        vocabulary: the kinds that histories of train hold; there after :meth:`fit`.
    """

    def __init__(self, log: CheckedLog) -> None:
        """Start without a behaviour; ``log`` names the column."""
        self._raw, self._table = log.raw, "interactions" if log.behaviours is None else "behaviours"
        self._all, self._in_train, self._missing = Tally(KIND), Tally(KIND), 0
        self.counts: dict[str, int] = {}
        self.vocabulary = Vocabulary(pl.DataFrame())

    @staticmethod
    def are_told(log: CheckedLog) -> bool:
        """Whether the log tells them."""
        return KIND in (log.interactions if log.behaviours is None else log.behaviours).schema

    def add(self, part: PartRows) -> None:
        """Look at the next part."""
        kinds = self._of(part)
        self._all.add(kinds)
        self._in_train.add(kinds.filter(pl.Series(part.train_behaviours)))
        self._missing += kinds.null_count()

    def fit(self) -> None:
        """Fit the vocabulary.

        Raises:
            DataError: more than :data:`MAX_KINDS` kinds.
        """
        found = self._all.table()
        if self._missing:
            found = pl.concat([found, pl.DataFrame({KIND: [None], ROWS: [self._missing]}, schema=found.schema)])
        if found.height > MAX_KINDS:
            column = self._raw.columns[KIND if self._table == "interactions" else f"{self._table}.{KIND}"]
            raise DataError(
                f"{self._raw.origins[self._table]}, column '{column}' = {found.height:,} kinds: a behaviour has one of at most {MAX_KINDS} "
                "kinds; name another column, or remove kind."
            )
        found = found.sort(ROWS, KIND, descending=[True, False])
        self.counts = {f"{COUNTED}{'(missing)' if kind is None else kind}": count for kind, count in found.rows()}
        in_train = self._in_train.table()
        self.vocabulary = Vocabulary.fit(in_train[KIND].alias("raw"), in_train[ROWS].to_numpy())

    def index(self, part: PartRows) -> NDArray[np.uint8]:
        """(N,) kind of each behaviour of a part, 0 for one that is missing or unknown to train."""
        return self.vocabulary.encode(self._of(part)).astype(np.uint8)

    def _of(self, part: PartRows) -> pl.Series:
        return part.events[KIND].gather(part.behaviours.source_row)
