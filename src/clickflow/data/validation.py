"""Checks of a log before it is prepared: every value is present, readable and possible, and every item is known.

All faults are reported at once, because a log that takes an hour to export should be repaired once. The files are only read: rows are
dropped in memory, counted and logged.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from operator import or_

import polars as pl

from clickflow.data.faults import RawTable, row_faults, wrong_unit
from clickflow.data.schema import ITEM, LABEL, LIST, RATING, TIMESTAMP, USER
from clickflow.data.sources.raw import RawLog
from clickflow.data.sources.source import SourceConfig, several, unreadable

logger = logging.getLogger(__name__)

EXAMPLES = 5


@dataclass(frozen=True)
class CheckedLog:
    """A log in memory, in the order of its files, of which every row can be used.

    Attributes:
        interactions: as in :class:`RawLog`, without the dropped rows.
        items: exactly one row per item, or None; it may lack items under ``on_missing_items=unknown``.
        behaviours: a behaviour table of its own, or None.
        raw: fields, unit and names of the log.
        counts: rows read, dropped and repeated, by name; counts of the other tables are prefixed with the table's name.
    """

    interactions: pl.DataFrame
    items: pl.DataFrame | None
    behaviours: pl.DataFrame | None
    raw: RawLog
    counts: dict[str, int]


def check(raw: RawLog, config: SourceConfig) -> CheckedLog:
    """Read a log into memory and check it.

    Args:
        raw: the log as a source read it.
        config: how to treat bad rows, duplicates and missing items.

    Raises:
        DataError: one line per kind of fault, with file, column, row (counted from 1, without a header), value and remedy.
    """
    lazy = {"interactions": raw.interactions, "behaviours": raw.behaviours, "items": raw.items}
    tables = {name: _collect(name, frame, raw) for name, frame in lazy.items() if frame is not None}
    problems: list[str] = []
    counts: dict[str, int] = {}
    frames = {name: _sound_rows(table, config, problems, counts) for name, table in tables.items()}
    mismatches = list(_type_mismatches(tables))
    problems += mismatches
    for name in ("interactions", "behaviours"):
        if name in frames:
            frames[name] = _count_duplicates(name, frames[name], config, counts)
    if "items" in frames:
        frames["items"] = _one_row_per_item(frames["items"], counts)
        if not mismatches and not tables["items"].frame.is_empty():
            problems += _missing_items(tables["items"], frames, config, counts)
    if problems:
        raise several(problems, "the log")
    return CheckedLog(frames["interactions"], frames.get("items"), frames.get("behaviours"), raw, counts)


def _collect(name: str, frame: pl.LazyFrame, raw: RawLog) -> RawTable:
    table = RawTable(name, pl.DataFrame(), raw)
    try:
        return RawTable(name, frame.collect(engine="streaming"), raw)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise unreadable(table.origin, error) from error


def _sound_rows(table: RawTable, config: SourceConfig, problems: list[str], counts: dict[str, int]) -> pl.DataFrame:
    """The rows without a fault, in canonical columns; adds to ``problems`` and ``counts``."""
    frame = table.frame.select(pl.exclude("^given:.*$"))
    counts[_count("rows_read", table.name)] = frame.height
    if frame.is_empty():
        problems.append(f"{table.origin} = 0 rows: there is nothing in it but column names; write it again with its rows.")
    if sentence := wrong_unit(table):  # never dropped: that could remove half of a log
        problems.append(sentence)
    faults = list(row_faults(table, unit_is_right=sentence is None))
    if not faults:
        return frame
    bad = reduce(or_, (fault.bad for fault in faults))
    if config.on_bad_rows == "error":
        problems += [table.line(fault) for fault in faults]
    else:
        counts[_count("bad_rows_dropped", table.name)] = int(bad.sum())
        findings = [table.finding(fault) for fault in faults]
        logger.warning("dropped %s of %s rows:\n  %s", f"{bad.sum():,}", f"{frame.height:,}", "\n  ".join(findings))
        if bad.all():
            problems.append(f"{table.origin}: no row is left after dropping bad ones; the first of them: {findings[0]}; fix the rows.")
    return frame.filter(~bad)


def _type_mismatches(tables: dict[str, RawTable]) -> Iterator[str]:
    """Ids that cannot be compared: integers in one table, texts in another."""
    for name in (USER, ITEM):
        owners = [table for table in tables.values() if name in table.frame.columns and not table.frame.is_empty()]
        for first, table in pairwise(owners):
            mine, others = table.frame[name].dtype, first.frame[name].dtype
            if mine != others:
                yield (
                    f"{table.origin}, column '{table.column(name)}' = {mine}: "
                    f"{first.origin}, column '{first.column(name)}' holds {others}; "
                    "ids must be of one type: write both as integers or both as texts."
                )


def _count_duplicates(name: str, frame: pl.DataFrame, config: SourceConfig, counts: dict[str, int]) -> pl.DataFrame:
    keys = [column for column in (USER, ITEM, TIMESTAMP, LABEL, RATING, LIST) if column in frame.columns]
    duplicates = _duplicates(frame.select(keys))
    counts[_count("duplicate_rows", name)] = duplicates
    if not duplicates or config.duplicates == "keep":
        return frame
    counts[_count("duplicate_rows_dropped", name)] = duplicates
    repeated = frame.select(keys).is_duplicated()
    first = frame.filter(repeated).sort(pl.all()).unique(subset=keys, keep="first", maintain_order=True)
    return pl.concat([frame.filter(~repeated), first])


def _duplicates(rows: pl.DataFrame) -> int:
    """How many rows repeat an earlier one."""
    # Equal rows have equal hashes, and hashes compare three times as fast; rows that share a hash are then compared in full.
    hashes = rows.hash_rows()
    if hashes.n_unique() == rows.height:
        return 0
    alike = rows.filter(hashes.is_duplicated())
    return alike.height - alike.n_unique()


def _one_row_per_item(frame: pl.DataFrame, counts: dict[str, int]) -> pl.DataFrame:
    """Each item once; its fields agree, its title may not."""
    distinct = frame.drop_nulls(ITEM).unique()
    counts["items_duplicate_rows"] = frame.height - distinct.height
    return distinct.sort(pl.all()).unique(subset=ITEM, keep="first", maintain_order=True)


def _missing_items(table: RawTable, frames: dict[str, pl.DataFrame], config: SourceConfig, counts: dict[str, int]) -> Iterator[str]:
    events = [frames[name].select(ITEM) for name in ("interactions", "behaviours") if name in frames]
    absent = pl.concat(events).lazy().unique().join(frames["items"].lazy(), on=ITEM, how="anti").sort(ITEM).collect()[ITEM]
    if absent.is_empty():
        return
    if config.on_missing_items == "unknown":
        counts["items_without_fields"] = len(absent)
        logger.warning("%s items have no fields: index 0 = unknown", f"{len(absent):,}")
        return
    some = ", ".join(repr(value) for value in absent.head(EXAMPLES))
    count = f"{len(absent):,} item{'s' if len(absent) > 1 else ''}"
    yield (
        f"{table.origin}, column '{table.column(ITEM)}': lacks {count} of the log, such as {some}; "
        "add them or set data.on_missing_items=unknown (their fields become index 0 = unknown)."
    )


def _count(what: str, table: str) -> str:
    return what if table == "interactions" else f"{table}_{what}"
