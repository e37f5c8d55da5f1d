"""The fields of each item: from the item table, or the earliest value in the log.

A log may give an item other values over time. A model is trained on what was known first; a value that only the test period knows would
tell train about the future.
"""

import logging
from collections.abc import Iterable

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

    Nearly all items have one value, whatever its moment. Only where an item has several the parts are looked at once more.

    Attributes:
        counts: items without fields and with several values; whole after :meth:`table`.
    """

    def __init__(self, names: list[str], num_items: int, drawn: bool, behaviours_are_interactions: bool) -> None:
        """Start without a value.

        Args:
            names: the fields.
            num_items: items of the log.
            drawn: whether impressions are behaviours (``next_item``).
            behaviours_are_interactions: whether histories hold rows of the interactions; others know no fields.
        """
        self._values = {name: _Values(name, num_items) for name in names}
        self._drawn, self._behaviours_are_interactions = drawn, behaviours_are_interactions
        self._has_fields = np.zeros(num_items, bool)
        self.counts: dict[str, int] = {}

    def add(self, part: PartRows) -> None:
        """Look at the next part."""
        if self._values:
            self._has_fields[part.source[ITEM].to_numpy()] = True
        for values in self._values.values():
            values.add(part.source)

    def table(self, items: pl.Series, rows: Iterable[PartRows]) -> pl.DataFrame:
        """Raw id and fields of each item, in the order of raw ids; null for an unknown value.

        Args:
            items: raw ids.
            rows: the parts, which are asked for only if some item has several values.
        """
        table = items.alias(ITEM).to_frame()
        if not self._values:
            return table
        settled = [values for values in self._values.values() if values.settle()]
        if settled:
            for part in rows:
                later = pl.Series(LATER, ~self._in_train(part))
                for values in settled:
                    values.look_again(part.source.with_columns(later))
        places = pl.DataFrame({ITEM: np.arange(len(items))})
        for name, values in self._values.items():
            table = table.with_columns(places.join(values.found(), on=ITEM, how="left", maintain_order="left")[name])
        conflicts = int(np.logical_or.reduce([values.has_several for values in self._values.values()]).sum())
        without = len(items) - int(self._has_fields.sum())
        self.counts = {
            "items_with_conflicting_fields": conflicts,
            "items_without_fields": 0 if self._behaviours_are_interactions else without,
        }
        if conflicts:
            number = f"{conflicts:,}"
            logger.warning("%s items have several values of a field in the log; the earliest is used, of train where train has one", number)
        return table

    def _in_train(self, part: PartRows) -> NDArray[np.bool_]:
        """(R,) whether train sees a row of the interactions: as an impression, or as a behaviour in a history."""
        in_train = np.zeros(part.source.height, bool)
        if self._behaviours_are_interactions or not self._drawn:
            in_train[part.impressions.source_row[part.split == TRAIN]] = True
        if self._behaviours_are_interactions:
            in_train[part.behaviours.source_row[part.train_behaviours]] = True
        return in_train


class _Values:
    """The values of one field: one for each item, and whether the item has several.

    Attributes:
        has_several: (I,) whole after :meth:`settle`.
    """

    def __init__(self, name: str, num_items: int) -> None:
        self._name = name
        self._found = pl.DataFrame()
        self._pieces: list[pl.DataFrame] = []
        self._earliest: list[pl.DataFrame] = []
        self.has_several = np.zeros(num_items, bool)

    def add(self, source: pl.DataFrame) -> None:
        """Look at more rows."""
        there = source.select(ITEM, self._name).drop_nulls(self._name)
        items, values = there[ITEM].to_numpy(), there[self._name]
        row = np.full(len(self.has_several), -1)
        row[items] = np.arange(len(items))
        self.has_several[items[(values != values.gather(row[items])).to_numpy()]] = True
        self._pieces.append(there[row[row >= 0]])
        if sum(piece.height for piece in self._pieces) > max(SMALLEST_MERGE, self._found.height):
            self._merge()

    def settle(self) -> bool:
        """Whether some item has several values; no rows may be added afterwards."""
        self._merge()
        return bool(self.has_several.any())

    def look_again(self, events: pl.DataFrame) -> None:
        """Look for the earliest value of the items with several; events have their moment, and whether train does not see them."""
        several = events.filter(pl.Series(self.has_several[events[ITEM].to_numpy()])).drop_nulls(self._name)
        first = several.group_by(ITEM, self._name, LATER).agg(pl.col(TIMESTAMP).min())
        self._earliest = [
            pl.concat([*self._earliest, first]).sort(ITEM, LATER, TIMESTAMP, self._name).unique(ITEM, keep="first", maintain_order=True)
        ]

    def found(self) -> pl.DataFrame:
        """Item and value of all items that have one."""
        single = self._found.filter(pl.Series(~self.has_several[self._found[ITEM].to_numpy()]))
        return pl.concat([single, *(earliest.select(ITEM, self._name) for earliest in self._earliest)])

    def _merge(self) -> None:
        pieces = self._pieces if self._found.is_empty() else [self._found, *self._pieces]
        found = pl.concat(pieces)
        if len(pieces) > 1:
            found = found.unique()
            self.has_several[found.filter(pl.col(ITEM).is_duplicated())[ITEM].to_numpy()] = True
            found = found.unique(ITEM)
        self._found, self._pieces = found, []
