"""Totals of the whole log, added up part by part: counts of items, vocabularies and scales, values of items, lists, splits."""

from collections import Counter

import numpy as np

from clickflow.data.arrays import IntArray
from clickflow.data.fields import Fields, TrainFields, fit_fields
from clickflow.data.given_histories import CLICKS_ENDING_HISTORY, clicks_ending_history
from clickflow.data.item_counts import ItemCounts
from clickflow.data.item_values import ItemValues
from clickflow.data.kinds import Kinds
from clickflow.data.lists import Lists
from clickflow.data.log_parts import LogParts
from clickflow.data.protocols import NextItemConfig, ProtocolConfig
from clickflow.data.rows import LogRows
from clickflow.data.split_totals import SplitTotals
from clickflow.data.splits import refuse_empty_splits
from clickflow.data.validation import CheckedLog


class LogTotals:
    """Totals of a log of I items.

    Attributes:
        splits: rows and moments of each split, and lengths of histories.
        item_counts: occurrences of each item, by code.
        items: raw id of item row 1, 2, ...: items of train by count, then items that train never saw; ties by raw id.
        row_of_item: (I + 1,) item row of each code; the last element answers code -1, no item.
        fields: vocabularies and scales, and the encoded items.
        lists: the lists of the rows; None if rows cannot be in lists.
        kinds: the kinds of the behaviours; None if the log does not tell them.
        counts: items noted, by name.
    """

    def __init__(self, log: CheckedLog, parts: LogParts, rows: LogRows, protocol: ProtocolConfig, name: str) -> None:
        """Add up a log.

        Args:
            log: checked rows.
            parts: its parts.
            rows: the same as numbers.
            protocol: which rows are impressions, and the splits.
            name: name of the data set, for messages.

        Raises:
            DataError: a split would be empty.
        """
        drawn = isinstance(protocol, NextItemConfig)
        of_items = [spec.name for spec in log.raw.fields if spec.role == "item"]
        self.splits, self.item_counts = SplitTotals(), ItemCounts(len(log.item_ids))
        values = ItemValues(of_items, log, drawn)
        self.kinds = Kinds(log) if Kinds.are_told(log) else None
        train = TrainFields([spec for spec in log.raw.fields if spec.role != "item"])
        # The rows of next_item cannot be in lists: their negatives are drawn and were never shown.
        has_lists = log.has_lists and not drawn
        self.lists = Lists(None if parts.folder is None else parts.folder / "lists", len(parts)) if has_lists else None
        self.counts: Counter[str] = Counter()
        for part in rows:
            for total in (self.splits, self.item_counts, values, train, self.lists, self.kinds):
                if total is not None:
                    total.add(part)
            if log.has_histories:
                self.counts[CLICKS_ENDING_HISTORY] += clicks_ending_history(part.impressions, part.behaviours)
        if rows.moments is not None:
            protocol.refuse_dates_without_rows(self.splits.rows, *rows.moments, log.raw.timestamp_unit)
        refuse_empty_splits(self.splits.rows, f"data set {name}")
        order = self.item_counts.order()
        self.items = log.item_ids[order]
        self.row_of_item: IntArray = np.zeros(len(order) + 1, np.int64)
        self.row_of_item[order] = np.arange(1, len(order) + 1)
        in_train = self.item_counts.in_train[order]
        self.fields: Fields = fit_fields(log.raw.fields, values.table(rows)[order], in_train, train)
        self.counts.update({"items_unseen_in_train": int((in_train == 0).sum())} | values.counts)
        if self.lists is not None:
            self.lists.settle()
            self.counts.update(self.lists.counts)
        if self.kinds is not None:
            self.kinds.fit()
            self.counts.update(self.kinds.counts)
