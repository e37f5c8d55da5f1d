"""Checks of a log before it is prepared: every value is present, readable and possible, and every item is known.

All faults are reported at once, because a log that takes an hour to export should be repaired once. The files are only read: rows are
dropped in memory, counted and logged.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import or_

import polars as pl

from clickflow.data import candidate_lists, field_values, given_histories
from clickflow.data.faults import ROLES, RawTable, row_faults, wrong_unit
from clickflow.data.schema import CANDIDATE_LABELS, CANDIDATES, CLICKED, ITEM, KIND, LABEL, LIST, RATING, TIMESTAMP, USER
from clickflow.data.sources.raw import RawLog
from clickflow.data.sources.source import SourceConfig, reading, several

logger = logging.getLogger(__name__)

EXAMPLES = 5
DROPPED = "dropped: "
"""Prefix of the counts of dropped rows by file, column and reason."""


@dataclass(frozen=True)
class CheckedLog:
    """A log in memory, in the order of its files, of which every row can be used.

    Attributes:
        interactions: as in :class:`RawLog`, without the dropped rows, and with the fields of the user table.
        items: exactly one row per item, or None; it may lack items under ``on_missing_items=unknown``.
        behaviours: a behaviour table of its own, or None.
        histories: one row per different history that rows bring, with its ``user`` and the ids of its items as ``given history``; the
            interactions have its row number as ``given history``. None if they bring none.
        raw: fields, unit and names of the log.
        counts: rows read, dropped and repeated, by name; counts of the other tables are prefixed with the table's name.
    """

    interactions: pl.DataFrame
    items: pl.DataFrame | None
    behaviours: pl.DataFrame | None
    raw: RawLog
    counts: dict[str, int]
    histories: pl.DataFrame | None = None

    @property
    def behaviours_are_interactions(self) -> bool:
        """Whether histories hold rows of the interactions."""
        return self.behaviours is None and self.histories is None


def check(raw: RawLog, config: SourceConfig) -> CheckedLog:
    """Read a log into memory and check it.

    Args:
        raw: the log as a source read it.
        config: how to treat bad rows, duplicates and missing items.

    Raises:
        DataError: one line per kind of fault, with file, column, row (counted from 1, without a header), value and remedy.
    """
    lazy = {"interactions": raw.interactions, "behaviours": raw.behaviours, "items": raw.items, "users": raw.users}
    tables = {name: _collect(name, frame, raw) for name, frame in lazy.items() if frame is not None}
    problems: list[str] = []
    counts: dict[str, int] = {}
    frames = {name: _sound_rows(table, config, problems, counts) for name, table in tables.items()}
    for table in tables.values():
        problems += field_values.count_missing(table, config, counts)
    for name in ("interactions", "behaviours"):
        if name in frames:
            frames[name] = _count_duplicates(name, frames[name], config, counts)
    events, histories = given_histories.numbered(candidate_lists.with_candidates(frames["interactions"], counts), counts)
    frames["interactions"] = candidate_lists.taken_apart(events)
    problems += candidate_lists.refuse_without_candidates(tables["interactions"], counts)
    needing = {"items": _items_of(frames, histories), "users": [frames["interactions"].select(USER)]}
    for name, key in ROLES.items():
        if name in frames:
            frames[name] = _one_row_each(frames[name], key, counts)
            if not any(table.frame.is_empty() for table in tables.values()):
                problems += _missing(tables[name], key, needing[name], _described(frames, raw) if name == "items" else [], config, counts)
    if problems:
        raise several(list(dict.fromkeys(problems)), "the log")  # tables of the same files share faults
    if "users" in frames:
        frames["interactions"] = frames["interactions"].join(frames["users"], on=USER, how="left", maintain_order="left")
    field_values.describe(raw, frames, counts)
    return CheckedLog(frames["interactions"], frames.get("items"), frames.get("behaviours"), raw, counts, histories)


def _collect(name: str, frame: pl.LazyFrame, raw: RawLog) -> RawTable:
    with reading(RawTable(name, pl.DataFrame(), raw).origin):
        return RawTable(name, frame.collect(engine="streaming"), raw)


def _sound_rows(table: RawTable, config: SourceConfig, problems: list[str], counts: dict[str, int]) -> pl.DataFrame:
    """The rows without a fault, in canonical columns; adds to ``problems`` and ``counts``."""
    frame = table.frame.select(pl.exclude("^given:.*$"))
    counts[_count("rows_read", table.name)] = table.num_rows + sum(table.left_out.values())
    counts.update({_count(reason, table.name): rows for reason, rows in table.left_out.items()})
    if not table.num_rows:
        problems.append(f"{table.origin} = 0 rows: there is nothing in it but column names; write it again with its rows.")
    if sentence := wrong_unit(table):  # never dropped: that could remove half of a log
        problems.append(sentence)
    faults = list(row_faults(table, unit_is_right=sentence is None))
    refused = table.refused.count
    if not faults and not refused:
        return frame
    bad = reduce(or_, (fault.bad for fault in faults), pl.repeat(False, frame.height, eager=True))
    reasons = {table.finding(fault): int(fault.bad.sum()) for fault in faults}
    if refused:
        more = f" (and so in {refused - 1:,} more line{'s' if refused > 2 else ''})" if refused > 1 else ""
        reasons[table.refused.first + more] = refused
    num_bad = int(bad.sum()) + refused
    too_many = num_bad > config.max_bad_share * table.num_rows
    share = f"{num_bad:,} of {table.num_rows:,} rows"
    if config.on_bad_rows == "error":
        problems += [f"{reason}; {_remedy(count, share, too_many, config)}" for reason, count in reasons.items()]
        return frame.filter(~bad)
    findings = "\n  ".join(reasons)
    if num_bad == table.num_rows:
        first = next(iter(reasons))
        problems.append(f"{table.origin}: no row is left after dropping bad ones; the first of them: {first}; fix the rows.")
    elif too_many:
        problems += [f"{reason}; {_remedy(count, share, too_many, config)}" for reason, count in reasons.items()]
    else:
        logger.warning("dropped %s:\n  %s", share, findings)
    counts[_count("bad_rows_dropped", table.name)] = num_bad
    for fault in faults:
        counts[f"{DROPPED}{table.label}, {table.column(fault.column)} {fault.wrong.partition(',')[0]}"] = int(fault.bad.sum())
    if refused:
        counts[f"{DROPPED}{table.label}, lines that are no rows"] = refused
    return frame.filter(~bad)


def _remedy(count: int, share: str, too_many: bool, config: SourceConfig) -> str:
    """Advice that is safe to follow."""
    rows = "fix the row" if count == 1 else "fix the rows"
    if not too_many:
        return f"{rows} or set data.on_bad_rows=drop (drops are counted and logged)."
    return (
        f"{rows}: {share} are bad, and data.max_bad_share={config.max_bad_share:g} is the most that data.on_bad_rows=drop drops; "
        "check the options of the column, or raise it if these rows are no loss."
    )


def _count_duplicates(name: str, frame: pl.DataFrame, config: SourceConfig, counts: dict[str, int]) -> pl.DataFrame:
    lists = (CANDIDATES, CANDIDATE_LABELS, CLICKED)
    keys = [column for column in (USER, ITEM, TIMESTAMP, LABEL, RATING, LIST, KIND, *lists) if column in frame.columns]
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


def _one_row_each(frame: pl.DataFrame, key: str, counts: dict[str, int]) -> pl.DataFrame:
    """Each item or user once; its fields agree, its title may not."""
    distinct = frame.drop_nulls(key).unique()
    counts[f"{key}s_duplicate_rows"] = frame.height - distinct.height
    return distinct.sort(pl.all(), nulls_last=True).unique(subset=key, keep="first", maintain_order=True)


def _items_of(frames: dict[str, pl.DataFrame], histories: pl.DataFrame | None) -> list[pl.DataFrame]:
    """All that needs the fields of its items."""
    events = [frames[name].select(ITEM) for name in ("interactions", "behaviours") if name in frames]
    return events if histories is None else [*events, given_histories.items_of(histories)]


def _missing(
    table: RawTable, key: str, needing: list[pl.DataFrame], described: list[pl.LazyFrame], config: SourceConfig, counts: dict[str, int]
) -> Iterator[str]:
    """Items or users of the log that neither their table has nor another one describes."""
    # The table as read: an item with a bad row is not told to be missing too.
    known = [table.frame.lazy().select(key), *described]
    absent = pl.concat(needing).lazy().unique().join(pl.concat(known), on=key, how="anti").sort(key).collect()[key]
    if absent.is_empty():
        return
    if (config.on_missing_items if key == ITEM else config.on_missing_users) == "unknown":
        counts[f"{key}s_without_fields"] = len(absent)
        logger.warning("%s %ss have no fields: index 0 = unknown", f"{len(absent):,}", key)
        return
    some = ", ".join(repr(value) for value in absent.head(EXAMPLES))
    count = f"{len(absent):,} {key}{'s' if len(absent) > 1 else ''}"
    yield (
        f"{table.origin}, column '{table.column(key)}': lacks {count} of the log, such as {some}; "
        f"add them or set data.on_missing_{key}s=unknown (their fields become index 0 = unknown)."
    )


def _described(frames: dict[str, pl.DataFrame], raw: RawLog) -> list[pl.LazyFrame]:
    """Items that the behaviour table has fields of."""
    if "behaviours" not in frames:
        return []
    fields = [pl.col(spec.name).is_not_null() for spec in raw.fields if spec.role == "item" and spec.name in frames["behaviours"].columns]
    return [frames["behaviours"].lazy().filter(pl.any_horizontal(pl.lit(False), *fields)).select(ITEM)]


def _count(what: str, table: str) -> str:
    return what if table == "interactions" else f"{table}_{what}"
