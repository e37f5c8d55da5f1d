"""Rows that list several candidates become one row per candidate, with the user, the time, the fields and the history of the list.

All of it is computed from a user's own rows, and no result depends on the order of the rows.
"""

from collections.abc import Iterator

import polars as pl

from clickflow.data.faults import RawTable
from clickflow.data.schema import CANDIDATE_LABELS, CANDIDATES, CLICKED, ITEM, LABEL, LIST, TIMESTAMP, USER
from clickflow.data.sources.row_lists import num_missing


def with_candidates(frame: pl.DataFrame, counts: dict[str, int]) -> pl.DataFrame:
    """The rows that list a candidate; counts the others, and what else is odd about the lists."""
    if CANDIDATES not in frame.columns:
        return frame
    counts["missing_candidates"] = num_missing(frame[CANDIDATES])
    frame = frame if CANDIDATE_LABELS in frame.columns else frame.with_columns(pl.col(CANDIDATES).list.drop_nulls())
    if CLICKED in frame.columns:
        not_shown = pl.col(CLICKED).list.drop_nulls().list.set_difference(CANDIDATES)
        counts["clicked_items_not_shown"] = int(frame.select(not_shown.list.len().sum()).item())
    found = frame.filter(pl.col(CANDIDATES).list.len() > 0)
    counts["rows_without_candidates"] = frame.height - found.height
    counts["candidate_lists"] = found.height
    return found


def refuse_without_candidates(table: RawTable, counts: dict[str, int]) -> Iterator[str]:
    """A problem if all rows are without a candidate."""
    if counts.get("candidate_lists") == 0 and counts["rows_without_candidates"]:
        yield f"{table.origin}, column '{table.column(CANDIDATES)}': no row has a candidate; name the column of what was shown."


def taken_apart(frame: pl.DataFrame) -> pl.DataFrame:
    """One row per candidate, with its label; a row of the file is a list, unless a column names the lists.

    An item that a list holds twice is two rows.
    """
    if CANDIDATES not in frame.columns:
        return frame
    if LIST not in frame.columns:  # numbered by what the rows say, not by where the file has them
        frame = frame.sort(USER, TIMESTAMP, pl.exclude(USER, TIMESTAMP)).with_row_index(LIST)
    if CANDIDATE_LABELS in frame.columns:
        return frame.explode(CANDIDATES, CANDIDATE_LABELS).rename({CANDIDATES: ITEM, CANDIDATE_LABELS: LABEL})
    clicked = pl.col(CANDIDATES).is_in(pl.col(CLICKED)).fill_null(False).cast(pl.Int8).alias(LABEL)
    return frame.explode(CANDIDATES).with_columns(clicked).drop(CLICKED).rename({CANDIDATES: ITEM})
