"""A checked log as integer arrays: ids coded, behaviours sorted, impressions split, negatives drawn.

Raw ids become dense codes at once; everything after that is arithmetic on arrays. At the end, item codes become item rows, the
most frequent in train first: the order of vocabularies and so of embedding tables.
"""

from dataclasses import dataclass, fields, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clickflow.data.arrays import IntArray
from clickflow.data.behaviours import Behaviours
from clickflow.data.coding import coded, codes, distinct_ids
from clickflow.data.given_histories import CLICKS_ENDING_HISTORY, as_behaviours, clicks_ending_history, items_of
from clickflow.data.next_item_negatives import draw_negatives, refuse_without_negatives
from clickflow.data.protocols import Impressions, Interactions, NextItemConfig, ProtocolConfig
from clickflow.data.schema import ITEM, SPLIT, USER
from clickflow.data.splits import NO_SPLIT, TRAIN, refuse_empty_splits
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
        in_train: (N,) whether a behaviour is in some history of train.
        impressions: R rows of the log (under ``next_item`` the positives); ``item`` holds item rows.
        negatives: (R,) item row of the negative of each positive, 0 for none; None if the log has its own negatives.
        counts: number of rows left out or noted, by reason.
    """

    users: pl.Series
    items: pl.Series
    item_counts: IntArray
    behaviours: Behaviours
    in_train: NDArray[np.bool_]
    impressions: Impressions
    negatives: IntArray | None
    counts: dict[str, int]

    @property
    def has_order(self) -> bool:
        """Whether any user's behaviours happened at two different moments, or any history that a row brings is a sequence."""
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
    users, items = distinct_ids(log, USER), distinct_ids(log, ITEM)
    interactions, reported = _events(log, protocol, users, items)
    behaviours = reported
    if isinstance(protocol, NextItemConfig):
        _refuse_fields_without_rows(log, name)
        behaviours = reported.without_repeats()
    impressions = _inside(protocol.impressions(interactions, behaviours))
    refuse_empty_splits(impressions.split, f"data set {name}")
    in_train, item_counts = _train(impressions, behaviours, len(items))
    counts = {"items_unseen_in_train": int((item_counts == 0).sum())}
    if log.histories is None:
        counts["identical_events_merged"] = len(reported.group) - len(behaviours.group)
        counts["behaviours_sharing_a_moment"] = behaviours.num_simultaneous
        counts["users_with_one_behaviour"] = int((np.diff(behaviours.starts) == 1).sum())
    else:
        counts[CLICKS_ENDING_HISTORY] = clicks_ending_history(impressions, behaviours)
    order = np.argsort(-item_counts, kind="stable")
    row = np.zeros(len(items) + 1, np.int64)  # the last element answers code -1, no item
    row[order] = np.arange(1, len(order) + 1)
    negatives = None
    if isinstance(protocol, NextItemConfig):
        negatives = row[draw_negatives(protocol, impressions, behaviours, item_counts)]
        counts["positives_without_negative"] = int((negatives == 0).sum())
        refuse_without_negatives(counts["positives_without_negative"], len(negatives), name)
    return LogRows(
        users=users,
        items=items[order],
        item_counts=item_counts[order],
        behaviours=replace(behaviours, item=row[behaviours.item]),
        in_train=in_train,
        impressions=replace(impressions, item=row[impressions.item]),
        negatives=negatives,
        counts=counts,
    )


def _refuse_fields_without_rows(log: CheckedLog, name: str) -> None:
    if log.behaviours is None:
        return
    if SPLIT in log.interactions.columns:
        raise DataError(
            f"data set {name}: next_item takes its rows from the behaviour table, which names no splits; leave out data.behaviours or the "
            "splits, or choose protocol=impressions."
        )
    if any(field.role != "item" for field in log.raw.fields):
        raise DataError(
            f"data set {name}: next_item takes its rows from the behaviour table, which has no user or context fields; "
            "leave out data.behaviours or the fields, or choose protocol=impressions."
        )


def _events(log: CheckedLog, protocol: ProtocolConfig, users: pl.Series, items: pl.Series) -> tuple[Interactions, Behaviours]:
    """The rows of the log, and the behaviours: those of the rows' own histories, a table of their own, else the clicks, else all rows."""
    seed = protocol.seed if isinstance(protocol, NextItemConfig) else 0
    interactions = coded(log, log.interactions, users, items, seed)
    if log.histories is not None:
        return interactions, as_behaviours(log.histories, codes(items_of(log.histories)[ITEM], items))
    past = interactions if log.behaviours is None else coded(log, log.behaviours, users, items, seed)
    chosen = slice(None) if past.label is None else np.flatnonzero(past.label)
    behaviours = Behaviours.of(past.group[chosen], past.item[chosen], past.timestamp[chosen], past.source_row[chosen], len(users))
    return interactions, behaviours


def _inside(impressions: Impressions) -> Impressions:
    """The impressions of a split."""
    kept = impressions.split != NO_SPLIT
    return impressions if kept.all() else Impressions(*(getattr(impressions, column.name)[kept] for column in fields(impressions)))


def _train(impressions: Impressions, behaviours: Behaviours, num_items: int) -> tuple[NDArray[np.bool_], IntArray]:
    """What train sees: (N,) whether a behaviour is in one of its histories, and (I,) occurrences of each item in targets and histories."""
    is_train, num_edges = impressions.split == TRAIN, len(behaviours.group) + 1
    begin = np.bincount(impressions.history_start[is_train], minlength=num_edges)
    end = np.bincount(impressions.history_end[is_train], minlength=num_edges)
    covered = np.cumsum(begin - end)[:-1] > 0
    targets = np.bincount(impressions.item[is_train], minlength=num_items)
    return covered, targets + np.bincount(behaviours.item[covered], minlength=num_items)
