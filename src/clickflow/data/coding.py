"""The tables of a checked log as integer arrays: raw ids become dense codes, rows are put in order by user and time."""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clickflow.data.arrays import IntArray
from clickflow.data.behaviours import IdNumbers, time_order
from clickflow.data.id_numbers import id_numbers
from clickflow.data.log_parts import LogPart
from clickflow.data.protocols import Interactions
from clickflow.data.schema import GIVEN_HISTORY, ITEM, LABEL, RATING, SPLIT, TIMESTAMP, USER
from clickflow.data.validation import CheckedLog


def coded(part: LogPart, frame: pl.DataFrame, log: CheckedLog, seed: int) -> Interactions:
    """The rows of one of a part's tables as numbers, by user and time; their order in the file changes nothing."""
    group, item, timestamp = codes(frame[USER], part.users), codes(frame[ITEM], log.item_ids), frame[TIMESTAMP].to_numpy()

    def numbers() -> IdNumbers:
        return IdNumbers(id_numbers(part.users.to_arrow()), log.item_numbers, log.raw.timestamp_unit)

    order = time_order(group, item, timestamp, len(part.users), seed, numbers)
    group, item, timestamp = group[order], item[order], timestamp[order]
    alike = np.append(False, (np.diff(group) == 0) & (np.diff(timestamp) == 0) & (np.diff(item) == 0))
    alike |= np.append(alike[1:], False)
    if alike.any():  # rows that differ in an outcome or in a field only
        order[alike] = order[alike][_by_content(frame[order[alike]])]

    def column(name: str, dtype: type[np.generic]) -> NDArray[Any] | None:
        return frame[name].to_numpy()[order].astype(dtype) if name in frame.columns else None

    return Interactions(
        group=group,
        item=item,
        timestamp=timestamp,
        source_row=order,
        unit=log.raw.timestamp_unit,
        label=column(LABEL, np.uint8),
        rating=column(RATING, np.float64),
        split=column(SPLIT, np.uint8),
        history=column(GIVEN_HISTORY, np.int64),
    )


def _by_content(rows: pl.DataFrame) -> IntArray:
    """Order of rows by (user, moment, item), which is theirs already, and then by all other columns."""
    keys = rows.select(USER, TIMESTAMP, ITEM)
    run = (keys != keys.shift(1)).select(pl.any_horizontal(pl.all()).fill_null(True).cum_sum().alias("run"))
    others = rows.drop(keys.columns)
    ordered = pl.concat([run, others], how="horizontal").with_row_index("place").sort(pl.exclude("place"))
    return ordered["place"].to_numpy().astype(np.int64)


def codes(raw: pl.Series, distinct: pl.Series) -> IntArray:
    """Position of each raw id among the distinct ones."""
    table = pl.DataFrame({"raw": distinct}).with_row_index("code")
    joined = pl.DataFrame({"raw": raw}).join(table, on="raw", how="left", maintain_order="left")
    return joined["code"].to_numpy().astype(np.int64)
