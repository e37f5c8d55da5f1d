"""A checked log as integer arrays: ids coded, behaviours sorted, impressions split, negatives drawn.

Raw ids become dense codes at once; everything after that is arithmetic on arrays. At the end, item codes become item rows, the
most frequent in train first: the order of vocabularies and so of embedding tables.
"""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from clickflow.data.arrays import IntArray
from clickflow.data.negatives import sample_negatives
from clickflow.data.protocols import Behaviours, Impressions, Interactions, NextItemConfig, ProtocolConfig, sort_behaviours
from clickflow.data.schema import ITEM, LABEL, RATING, TIMESTAMP, USER
from clickflow.data.splits import TRAIN, refuse_empty_splits
from clickflow.data.validation import CheckedLog
from clickflow.errors import DataError


@dataclass(frozen=True)
class LogRows:
    """A log of U users and I items.

    Attributes:
        users: (U,) raw id of each group, sorted.
        items: (I,) raw id of item row 1, 2, ...: items of train by count, then items that train never saw; ties by raw id.
        item_counts: (I,) occurrences in train, in the order of ``items``.
        behaviours: ``item`` holds item rows.
        impressions: R rows of the log (under ``next_item`` the positives); ``item`` holds item rows.
        negatives: (R,) item row of the negative of each positive, 0 for none; None if the log has its own negatives.
        counts: number of rows left out or noted, by reason.
    """

    users: pl.Series
    items: pl.Series
    item_counts: IntArray
    behaviours: Behaviours
    impressions: Impressions
    negatives: IntArray | None
    counts: dict[str, int]

    @property
    def has_order(self) -> bool:
        """Whether any user's behaviours happened at two different moments."""
        of_same_user = np.diff(self.behaviours.group) == 0
        return bool((np.diff(self.behaviours.timestamp)[of_same_user] != 0).any())


def make_rows(log: CheckedLog, protocol: ProtocolConfig, name: str) -> LogRows:
    """Code a log and apply a protocol.

    Args:
        log: checked rows.
        protocol: which rows are impressions, and the splits.
        name: name of the data set, for messages.

    Raises:
        DataError: a split would be empty, or the log has fields that the protocol's rows cannot have.
    """
    if isinstance(protocol, NextItemConfig):
        _refuse_fields_without_rows(log, name)
    users, items = _distinct(log, USER), _distinct(log, ITEM)
    interactions = _code(log.interactions, users, items)
    behaviours = _sorted_behaviours(log, interactions, users, items)
    impressions = protocol.impressions(interactions, behaviours)
    refuse_empty_splits(impressions.split, f"data set {name}")
    item_counts = _occurrences_in_train(impressions, behaviours, len(items))
    counts = {
        "users_with_one_behaviour": int((np.diff(behaviours.starts) == 1).sum()),
        "items_unseen_in_train": int((item_counts == 0).sum()),
    }
    order = np.argsort(-item_counts, kind="stable")
    row = np.zeros(len(items) + 1, np.int64)  # the last element answers code -1, no item
    row[order] = np.arange(1, len(order) + 1)
    negatives = None
    if isinstance(protocol, NextItemConfig):
        negatives = row[_draw_negatives(protocol, impressions, behaviours, item_counts)]
        counts["positives_without_negative"] = int((negatives == 0).sum())
    return LogRows(
        users=users,
        items=items[order],
        item_counts=item_counts[order],
        behaviours=replace(behaviours, item=row[behaviours.item]),
        impressions=replace(impressions, item=row[impressions.item]),
        negatives=negatives,
        counts=counts,
    )


def _refuse_fields_without_rows(log: CheckedLog, name: str) -> None:
    if log.behaviours is not None and any(field.role != "item" for field in log.raw.fields):
        raise DataError(
            f"data set {name}: next_item takes its rows from the behaviour table, which has no user or context fields; "
            "leave out data.behaviours or the fields, or choose protocol=impressions."
        )


def _distinct(log: CheckedLog, column: str) -> pl.Series:
    """Sorted raw ids of the whole log; items that occur only in the item table are left out."""
    frames = [log.interactions] if log.behaviours is None else [log.interactions, log.behaviours]
    return pl.concat([frame.select(column).unique() for frame in frames]).unique().sort(column)[column]


def _code(frame: pl.DataFrame, users: pl.Series, items: pl.Series) -> Interactions:
    return Interactions(
        group=_codes(frame[USER], users),
        item=_codes(frame[ITEM], items),
        timestamp=frame[TIMESTAMP].to_numpy(),
        label=frame[LABEL].to_numpy().astype(np.uint8) if LABEL in frame.columns else None,
        rating=frame[RATING].to_numpy().astype(np.float64) if RATING in frame.columns else None,
    )


def _codes(raw: pl.Series, distinct: pl.Series) -> IntArray:
    """Position of each raw id among the sorted distinct ones."""
    table = pl.DataFrame({"raw": distinct}).with_row_index("code")
    joined = pl.DataFrame({"raw": raw}).join(table, on="raw", how="left", maintain_order="left")
    return joined["code"].to_numpy().astype(np.int64)


def _sorted_behaviours(log: CheckedLog, interactions: Interactions, users: pl.Series, items: pl.Series) -> Behaviours:
    """The behaviour table, else the clicks, else all interactions."""
    past = interactions if log.behaviours is None else _code(log.behaviours, users, items)
    group, item, timestamp, source_row = past.group, past.item, past.timestamp, np.arange(len(past.group))
    if past.label is not None:
        source_row = np.flatnonzero(past.label)
        group, item, timestamp = group[source_row], item[source_row], timestamp[source_row]
    return sort_behaviours(group, item, timestamp, source_row, len(users))


def _occurrences_in_train(impressions: Impressions, behaviours: Behaviours, num_items: int) -> IntArray:
    """(I,) occurrences of each item in train: as a target, and as a behaviour within some train history."""
    is_train = impressions.split == TRAIN
    num_edges = len(behaviours.group) + 1
    begin = np.bincount(impressions.history_start[is_train], minlength=num_edges)
    end = np.bincount(impressions.history_end[is_train], minlength=num_edges)
    covered = np.cumsum(begin - end)[:-1] > 0
    targets = np.bincount(impressions.item[is_train], minlength=num_items)
    return targets + np.bincount(behaviours.item[covered], minlength=num_items)


def _draw_negatives(protocol: NextItemConfig, positives: Impressions, behaviours: Behaviours, item_counts: IntArray) -> IntArray:
    """(R,) one item per positive, -1 for none: train draws among the items of train, the other splits among all items."""
    num_items = len(item_counts)
    own_keys = np.sort(behaviours.group * num_items + behaviours.item)
    everywhere = np.bincount(behaviours.item, minlength=num_items)
    rng = np.random.default_rng(protocol.seed)
    negatives = np.empty(len(positives.item), np.int64)
    is_train = positives.split == TRAIN
    for chosen, weights in ((is_train, item_counts), (~is_train, everywhere)):
        uniform = protocol.negatives == "uniform"
        negatives[chosen] = sample_negatives(positives.group[chosen], own_keys, weights, uniform=uniform, rng=rng)
    return negatives
