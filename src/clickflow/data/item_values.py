"""The fields of each item: from the item table; else the earliest value in the log, or in the behaviour table if that has the field.

A log may give an item other values over time. A model is trained on what was known first; a value that only the test period knows would
tell train about the future.
"""

import logging

import numpy as np
import polars as pl

from clickflow.data.rows import LogRows
from clickflow.data.schema import ITEM, TIMESTAMP
from clickflow.data.splits import TRAIN
from clickflow.data.validation import CheckedLog

logger = logging.getLogger(__name__)

IN_TRAIN = "given:in_train"
"""Column of a temporary frame; no field can have this name."""


def item_values(log: CheckedLog, rows: LogRows) -> tuple[pl.DataFrame, dict[str, int]]:
    """Raw values of the item fields.

    Returns:
        one row per item in the order of ``rows.items``, null for an unknown value; and how many items have no fields, or several values.
    """
    items = pl.DataFrame({ITEM: rows.items})
    names = [spec.name for spec in log.raw.fields if spec.role == "item"]
    described, others = items.clear(), items
    if log.items is not None:
        described = items.join(log.items, on=ITEM, maintain_order="left")
        others = items.join(log.items, on=ITEM, how="anti", maintain_order="left")
    events = _events(log, rows, names)
    if log.items is not None:
        events = [table.join(others, on=ITEM, how="semi") for table in events]
    if not events:
        return items.join(described, on=ITEM, how="left", maintain_order="left"), {}
    changing = pl.Series(ITEM, [], rows.items.dtype)
    for name in names:
        tables = [table.select(ITEM, TIMESTAMP, IN_TRAIN, name) for table in events if name in table.columns]
        if not tables:
            continue
        values, several = _earliest(pl.concat(tables), name)
        others = others.join(values, on=ITEM, how="left", maintain_order="left")
        changing = changing.append(several)
    counts = {"items_with_conflicting_fields": changing.n_unique()}
    if log.items is None:
        counts["items_without_fields"] = len(rows.items) - pl.concat([table[ITEM] for table in events]).n_unique()
    if counts["items_with_conflicting_fields"]:
        number = f"{counts['items_with_conflicting_fields']:,}"
        logger.warning("%s items have several values of a field in the log; the earliest is used, of train where train has one", number)
    values = pl.concat([described, others], how="diagonal")
    return items.join(values, on=ITEM, how="left", maintain_order="left"), counts


def _events(log: CheckedLog, rows: LogRows, names: list[str]) -> list[pl.DataFrame]:
    """The tables of events that have some of the fields, with whether train sees each row."""
    tables = [(log.interactions, _in_train(log, rows))]
    if log.behaviours is not None:
        tables.append((log.behaviours, _behaviours_in_train(log.behaviours, rows)))
    return [
        table.select(ITEM, TIMESTAMP, *(name for name in names if name in table.columns), pl.Series(IN_TRAIN, in_train))
        for table, in_train in tables
        if set(names) & set(table.columns)
    ]


def _earliest(events: pl.DataFrame, name: str) -> tuple[pl.DataFrame, pl.Series]:
    """The value of each item that has one, and the items that have several."""
    values = events.select(ITEM, name).drop_nulls(name).unique()
    several = values[ITEM].filter(values[ITEM].is_duplicated()).unique()
    if several.is_empty():
        return values, several
    first = (
        events.join(several.to_frame(), on=ITEM, how="semi")
        .drop_nulls(name)
        .sort(ITEM, pl.col(IN_TRAIN).not_(), TIMESTAMP, name)
        .unique(subset=ITEM, keep="first", maintain_order=True)
        .select(ITEM, name)
    )
    return pl.concat([values.join(several.to_frame(), on=ITEM, how="anti"), first]), several


def _in_train(log: CheckedLog, rows: LogRows) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """(R,) whether train sees a row of the interactions: as an impression, or as a behaviour in a history."""
    in_train = np.zeros(log.interactions.height, bool)
    if rows.negatives is None or log.behaviours is None:
        in_train[rows.impressions.source_row[rows.impressions.split == TRAIN]] = True
    if log.behaviours_are_interactions:
        in_train[rows.behaviours.source_row[rows.in_train]] = True
    return in_train


def _behaviours_in_train(behaviours: pl.DataFrame, rows: LogRows) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """(R,) the same of the rows of a behaviour table, which ``next_item`` takes its impressions from."""
    in_train = np.zeros(behaviours.height, bool)
    in_train[rows.behaviours.source_row[rows.in_train]] = True
    if rows.negatives is not None:
        in_train[rows.impressions.source_row[rows.impressions.split == TRAIN]] = True
    return in_train
