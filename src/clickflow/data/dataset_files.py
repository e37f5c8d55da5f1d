"""The files of a prepared dataset, written part by part."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clickflow.data import storage
from clickflow.data.arrays import IntArray
from clickflow.data.dataset import LIST_ID, RAW_TITLE
from clickflow.data.fields import smallest_integer
from clickflow.data.log_parts import LogParts
from clickflow.data.log_totals import LogTotals
from clickflow.data.negatives import interleave
from clickflow.data.next_item_negatives import Negatives, refuse_without_negatives
from clickflow.data.protocols import NextItemConfig, ProtocolConfig
from clickflow.data.rows import LogRows, PartRows
from clickflow.data.schema import ITEM, KIND, LABEL, TITLE, TRUE_PROBABILITY, USER
from clickflow.data.scratch import TableSpool
from clickflow.data.splits import SPLITS
from clickflow.data.storage import Written
from clickflow.data.validation import CheckedLog
from clickflow.data.vocabulary import RAW

BEHAVIOURS = "behaviours"


def write_items(folder: Path, log: CheckedLog, totals: LogTotals) -> Written:
    """Write the raw ids, the vocabularies and the items."""
    written = storage.write_frame(folder, "raw/item", totals.items.rename(RAW).to_frame())
    written |= storage.write_frame(folder, "raw/user", log.users[USER].rename(RAW).to_frame())
    if log.items is not None and TITLE in log.items.columns:
        titles = totals.items.rename(ITEM).to_frame().join(log.items.select(ITEM, TITLE), on=ITEM, how="left", maintain_order="left")
        title_file = storage.write_frame(folder, RAW_TITLE, titles.select(pl.col(TITLE).cast(pl.String).alias(RAW)))
        written |= Written({}, title_file.files)  # no model sees the titles, so they are no part of the fingerprint
    for name, vocabulary in totals.fields.vocabularies.items():
        written |= storage.write_frame(folder, f"vocabulary/{name}", vocabulary.table)
    if totals.kinds is not None:
        written |= storage.write_frame(folder, f"vocabulary/{KIND}", totals.kinds.vocabulary.table)
    return written | storage.write_columns(folder, "items", totals.fields.item_columns)


class RowFiles:
    """The files of behaviours and of the splits.

    Attributes:
        rows: rows of each split, sampled negatives among them; whole after :meth:`write`.
        counts: positives noted, by name; whole after :meth:`write`.
    """

    def __init__(self, rows: LogRows, parts: LogParts, totals: LogTotals, protocol: ProtocolConfig, name: str) -> None:
        """Choose what is written.

        Args:
            rows: the log as numbers.
            parts: its parts.
            totals: what the whole log knows.
            protocol: which rows are impressions.
            name: name of the data set, for messages.
        """
        self._source, self._totals, self._name = rows, totals, name
        self._negatives = Negatives(protocol, totals.item_counts) if isinstance(protocol, NextItemConfig) else None
        self._tables = {file: TableSpool(None if parts.folder is None else parts.folder / file) for file in (BEHAVIOURS, *SPLITS)}
        self._position = smallest_integer(rows.num_behaviours)
        self.rows = dict.fromkeys(SPLITS, 0)
        self.counts: dict[str, int] = {}

    def write(self, folder: Path) -> Written:
        """Write ``behaviours.arrow`` and the files of the splits.

        Raises:
            DataError: too many positives can have no negative.
        """
        without = positives = first_behaviour = first_row = 0
        for part in self._source:
            item = self._totals.row_of_item[part.behaviours.item].astype(np.int32)
            kinds = {} if self._totals.kinds is None else {KIND: self._totals.kinds.index(part)}
            self._tables[BEHAVIOURS].append({ITEM: item, **kinds})
            negatives = None if self._negatives is None else self._totals.row_of_item[self._negatives.draw(part)]
            for file, columns in self._split_columns(part, negatives, first_behaviour, first_row):
                self.rows[file] += len(columns[LABEL])
                self._tables[file].append(columns)
            first_behaviour, first_row = first_behaviour + len(item), first_row + len(part.split)
            if negatives is not None:
                without, positives = without + int((negatives == 0).sum()), positives + len(negatives)
        if self._negatives is not None:
            self.counts["positives_without_negative"] = without
            refuse_without_negatives(without, positives, self._name)
        written = Written({}, {})
        for file, table in self._tables.items():
            written |= storage.write_columns(folder, file, table.columns)
        return written

    def _split_columns(
        self, part: PartRows, negatives: IntArray | None, first_behaviour: int, first_row: int
    ) -> Iterator[tuple[str, dict[str, NDArray[Any]]]]:
        """The name of each split and the columns of its rows of a part, in the smallest types that fit."""
        impressions, totals = part.impressions, self._totals
        of_source = totals.fields.row_columns(part)
        if negatives is None and TRUE_PROBABILITY in part.source.columns:  # of clicks on what was shown; sampled negatives have none
            of_source[TRUE_PROBABILITY] = part.source[TRUE_PROBABILITY].to_numpy()
        list_id = None
        if totals.lists is not None:
            dtype = np.int32 if totals.lists.num_rows <= np.iinfo(np.int32).max else np.int64
            list_id = totals.lists.numbers(part, first_row).astype(dtype)
        for code, name in enumerate(SPLITS):
            chosen = np.flatnonzero(part.split == code)
            columns: dict[str, NDArray[Any]] = {
                "group": (impressions.group[chosen] + part.first_user).astype(np.int32),
                ITEM: totals.row_of_item[impressions.item[chosen]].astype(np.int32),
                "history_start": (impressions.history_start[chosen] + first_behaviour).astype(self._position),
                "history_end": (impressions.history_end[chosen] + first_behaviour).astype(self._position),
                LABEL: impressions.label[chosen],
            }
            columns |= {key: values[impressions.source_row[chosen]] for key, values in of_source.items()}
            if list_id is not None:
                columns[LIST_ID] = list_id[chosen]
            yield name, columns if negatives is None else interleave(columns, negatives[chosen])
