"""The fields of each item: from the item table; else the earliest value in the log, or in the behaviour table if that has the field.

A log may give an item other values over time. A model is trained on what was known first; a value that only the test period knows would
tell train about the future.
"""

import logging
from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clickflow.data.rows import PartRows
from clickflow.data.schema import ITEM, TIMESTAMP
from clickflow.data.splits import TRAIN
from clickflow.data.tallies import SMALLEST_MERGE
from clickflow.data.validation import CheckedLog

logger = logging.getLogger(__name__)

LATER = "given:not in train"
"""Column of a temporary frame; no field can have this name."""


class ItemValues:
    """Item fields that are columns of the log itself, gathered part by part.

    Nearly all items have one value, whatever its moment. Only where an item has several the parts are looked at once more.

    Attributes:
        counts: items without fields and with several values; whole after :meth:`table`.
    """

    def __init__(self, names: list[str], log: CheckedLog, drawn: bool) -> None:
        """Start without a value.

        Args:
            names: the fields.
            log: the tables that may have them.
            drawn: whether impressions are behaviours (``next_item``).
        """
        self._log, self._drawn = log, drawn
        tables = [log.interactions, *([] if log.behaviours is None else [log.behaviours])]
        self._from_events = any(name in table.schema for table in tables for name in names)
        self._values = {name: _Values(name, len(log.item_ids)) for name in names if any(name in table.schema for table in tables)}
        self._occurs = np.zeros(len(log.item_ids), bool)
        self._described = np.zeros(len(log.item_ids), bool)
        if log.items is not None:
            self._described = log.item_ids.is_in(log.items[ITEM].implode()).to_numpy()
        self.counts: dict[str, int] = {}

    def add(self, part: PartRows) -> None:
        """Look at the next part."""
        for table, _ in self._events(part):
            self._occurs[table[ITEM].to_numpy()] = True
            for name, values in self._values.items():
                if name in table.columns:
                    values.add(table)

    def table(self, rows: Iterable[PartRows]) -> pl.DataFrame:
        """Raw id and fields of each item, in the order of raw ids; null for an unknown value.

        Args:
            rows: the parts, which are asked for only if some item has several values.
        """
        items, num_items = self._log.item_ids.alias(ITEM).to_frame(), len(self._log.item_ids)
        described = items if self._log.items is None else items.join(self._log.items, on=ITEM, how="left", maintain_order="left")
        if not self._from_events:
            return described
        settled = [values for values in self._values.values() if values.settle()]
        for part in rows if settled else ():
            for table, in_train in self._events(part):
                for values in settled:
                    values.look_again(table.with_columns(pl.Series(LATER, ~in_train)))
        places = pl.DataFrame({ITEM: np.arange(num_items)})
        for name, values in self._values.items():
            found = places.join(values.found(), on=ITEM, how="left", maintain_order="left")[name]
            if name in described.columns:
                found = found.zip_with(pl.Series(~self._described), described[name])
            described = described.with_columns(found)
        conflicts = int(np.logical_or.reduce([values.has_several for values in self._values.values()]).sum())
        self.counts = {"items_with_conflicting_fields": conflicts}
        if self._log.items is None:
            self.counts["items_without_fields"] = num_items - int(self._occurs.sum())
        if conflicts:
            number = f"{conflicts:,}"
            logger.warning("%s items have several values of a field in the log; the earliest is used, of train where train has one", number)
        return described

    def _events(self, part: PartRows) -> Iterator[tuple[pl.DataFrame, NDArray[np.bool_]]]:
        """The tables of events that have some of the fields, of items that the item table lacks, with whether train sees each row."""
        tables = [(part.source, self._in_train)] + ([] if part.table is None else [(part.table, self._behaviours_in_train)])
        for table, in_train in tables:
            if self._values.keys() & set(table.columns):
                kept = ~self._described[table[ITEM].to_numpy()]
                yield table.filter(pl.Series(kept)), in_train(part)[kept]

    def _in_train(self, part: PartRows) -> NDArray[np.bool_]:
        """(R,) whether train sees a row of the interactions: as an impression, or as a behaviour in a history."""
        in_train = np.zeros(part.source.height, bool)
        if part.table is None or not self._drawn:
            in_train[part.impressions.source_row[part.split == TRAIN]] = True
        if self._log.behaviours_are_interactions:
            in_train[part.behaviours.source_row[part.train_behaviours]] = True
        return in_train

    def _behaviours_in_train(self, part: PartRows) -> NDArray[np.bool_]:
        """(R,) the same of the rows of a behaviour table, which ``next_item`` takes its impressions from."""
        in_train = np.zeros(part.events.height, bool)
        in_train[part.behaviours.source_row[part.train_behaviours]] = True
        if self._drawn:
            in_train[part.impressions.source_row[part.split == TRAIN]] = True
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
        if self._name not in events.columns:
            return
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
