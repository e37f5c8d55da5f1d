"""The fields of each item: from the item table, or the earliest value in the log.

A log may give an item other values over time. A model is trained on what was known first; a value that only the test period knows would
tell train about the future.
"""

import logging

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clickflow.data.rows import PartRows
from clickflow.data.schema import ITEM, TIMESTAMP
from clickflow.data.splits import TRAIN
from clickflow.data.tallies import SMALLEST_MERGE

logger = logging.getLogger(__name__)

LATER = "given:not in train"
"""Column of a temporary frame; no field can have this name."""


class ItemValues:
    """Item fields that are columns of the log itself, gathered part by part.

    Attributes:
        counts: items without fields and with several values; whole after :meth:`table`.
    """

    def __init__(self, names: list[str], num_items: int, drawn: bool, own_behaviours: bool) -> None:
        """Start without a value.

        Args:
            names: the fields.
            num_items: items of the log.
            drawn: whether impressions are behaviours (``next_item``).
            own_behaviours: whether behaviours come from a table of their own, which knows no fields.
        """
        self._earliest = {name: _Earliest(name, num_items) for name in names}
        self._drawn, self._own_behaviours = drawn, own_behaviours
        self._has_fields = np.zeros(num_items, bool)
        self.counts: dict[str, int] = {}

    def add(self, part: PartRows) -> None:
        """Look at the next part."""
        if not self._earliest:
            return
        later = pl.Series(LATER, ~self._in_train(part))
        self._has_fields[part.source[ITEM].to_numpy()] = True
        for name, earliest in self._earliest.items():
            earliest.add(part.source.select(ITEM, name, TIMESTAMP, later))

    def table(self, items: pl.Series) -> pl.DataFrame:
        """Raw id and fields of each item, in the order of raw ids; null for an unknown value."""
        table = items.alias(ITEM).to_frame()
        if not self._earliest:
            return table
        places = pl.DataFrame({ITEM: np.arange(len(items))})
        changing = np.zeros(len(items), bool)
        for name, earliest in self._earliest.items():
            found = places.join(earliest.values(), on=ITEM, how="left", maintain_order="left")
            table = table.with_columns(found[name])
            changing |= earliest.has_several
        conflicts = int(changing.sum())
        without = len(items) - int(self._has_fields.sum())
        self.counts = {"items_with_conflicting_fields": conflicts, "items_without_fields": without if self._own_behaviours else 0}
        if conflicts:
            number = f"{conflicts:,}"
            logger.warning("%s items have several values of a field in the log; the earliest is used, of train where train has one", number)
        return table

    def _in_train(self, part: PartRows) -> NDArray[np.bool_]:
        """(R,) whether train sees a row of the interactions: as an impression, or as a behaviour in a history."""
        in_train = np.zeros(part.source.height, bool)
        if not (self._drawn and self._own_behaviours):
            in_train[part.impressions.source_row[part.split == TRAIN]] = True
        if not self._own_behaviours:
            in_train[part.behaviours.source_row[part.train_behaviours]] = True
        return in_train


class _Earliest:
    """The earliest value of one field for each item, and whether it has several."""

    def __init__(self, name: str, num_items: int) -> None:
        self._name = name
        self._found: list[pl.DataFrame] = []
        self._num_found = self._num_merged = 0
        self.has_several = np.zeros(num_items, bool)
        """(I,) whole after :meth:`values`."""

    def add(self, events: pl.DataFrame) -> None:
        """Look at more rows: item, value, moment, and whether train does not see them."""
        first = events.drop_nulls(self._name).group_by(ITEM, self._name, LATER).agg(pl.col(TIMESTAMP).min())
        self._found.append(first)
        self._num_found += first.height
        if self._num_found > max(SMALLEST_MERGE, 2 * self._num_merged):
            self._merge()

    def values(self) -> pl.DataFrame:
        """Item and value of all items that have one."""
        self._merge()
        return self._found[0].select(ITEM, self._name)

    def _merge(self) -> None:
        found = pl.concat(self._found).sort(ITEM, LATER, TIMESTAMP, self._name)
        different = found.select(ITEM, self._name).unique()
        self.has_several[different.filter(pl.col(ITEM).is_duplicated())[ITEM].to_numpy()] = True
        self._found = [found.unique(subset=ITEM, keep="first", maintain_order=True)]
        self._num_found = self._num_merged = self._found[0].height
