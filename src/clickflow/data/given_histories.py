"""Histories that the rows of a log bring with them, in place of behaviours with times.

A history is taken as the user's word: nothing in it says when its behaviours happened. Equal histories of a user are stored once, so that
many impressions with one history, such as those of a list of candidates, cost no more than one. A user's histories depend on the user's
own rows alone.
"""

import numpy as np
import polars as pl

from clickflow.data.arrays import IntArray
from clickflow.data.behaviours import Behaviours
from clickflow.data.protocols import Impressions
from clickflow.data.schema import GIVEN_HISTORY, ITEM, USER
from clickflow.data.sources.row_lists import num_missing

CLICKS_ENDING_HISTORY = "clicks_that_end_their_own_history"
"""Name of the count of clicked rows whose history ends with the clicked item."""


def numbered(frame: pl.DataFrame, counts: dict[str, int]) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """Put each history in a table of its own, once per user.

    Args:
        frame: rows of the log, with lists as ``given history`` or without.
        counts: gets the number of different histories, and of nulls in them, which are left out.

    Returns:
        the rows with numbers as ``given history``; and the table with ``user`` and ``given history``, in the order of its content, whose
        row numbers these are, or None if the rows bring no history.
    """
    if GIVEN_HISTORY not in frame.columns:
        return frame, None
    counts["missing_items_in_histories"] = num_missing(frame[GIVEN_HISTORY])
    groups = (
        frame.select(USER, pl.col(GIVEN_HISTORY).list.drop_nulls())
        .with_row_index("row")
        .group_by(USER, GIVEN_HISTORY)
        .agg("row")
        .sort(USER, GIVEN_HISTORY)
    )
    counts["different_histories"] = groups.height
    number = np.empty(frame.height, np.int64)
    number[groups["row"].explode().to_numpy()] = np.repeat(np.arange(groups.height), groups["row"].list.len().to_numpy())
    return frame.with_columns(pl.Series(GIVEN_HISTORY, number)), groups.drop("row")


def items_of(histories: pl.DataFrame) -> pl.DataFrame:
    """Raw ids of all items of all histories, one after the other, as ``item``."""
    return histories.select(pl.col(GIVEN_HISTORY).explode().drop_nulls().alias(ITEM))  # an empty list gives a null


def as_behaviours(histories: pl.DataFrame, item: IntArray) -> Behaviours:
    """Make behaviours whose ``group`` is the number of a history, and whose times are mere positions.

    Args:
        histories: H histories, as made by :func:`numbered`.
        item: (N,) code of each of :func:`items_of`.
    """
    position = np.arange(len(item))
    history = np.repeat(np.arange(histories.height), histories[GIVEN_HISTORY].list.len().to_numpy())
    return Behaviours.of(history, item, position, position, histories.height)


def clicks_ending_history(impressions: Impressions, behaviours: Behaviours) -> int:
    """Count clicked rows whose history ends with the clicked item: a sign that it holds what it should predict."""
    clicked = np.flatnonzero((impressions.label == 1) & (impressions.history_end > impressions.history_start))
    last = behaviours.item[impressions.history_end[clicked] - 1]
    return int((last == impressions.item[clicked]).sum())
