"""Checks of a log before it is prepared: every value is present, readable and possible, and every item is known.

All faults are reported at once, because a log that takes an hour to export should be repaired once. The files are only read: rows are
dropped on the way, counted and logged. The tables of events pass by piece by piece; their rows that are sound wait in a scratch folder.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import or_

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clickflow.data import candidate_lists, given_histories
from clickflow.data.faults import ROLES, Finding, Findings, RawTable, UnitCheck, no_click_as_minus_one, row_faults
from clickflow.data.field_values import MissingValues
from clickflow.data.id_numbers import id_numbers
from clickflow.data.schema import CANDIDATES, GIVEN_HISTORY, ITEM, LABEL, LIST, USER
from clickflow.data.scratch import IN_MEMORY, FrameSpool, Scratch
from clickflow.data.sources.columns import given
from clickflow.data.sources.parts import FILE
from clickflow.data.sources.raw import RawLog
from clickflow.data.sources.source import SourceConfig, reading, several
from clickflow.data.tallies import Tally

logger = logging.getLogger(__name__)

EXAMPLES = 5
PIECE_ROWS = 1_000_000
DROPPED = "dropped: "
"""Prefix of the counts of dropped rows by file, column and reason."""


@dataclass(frozen=True)
class CheckedLog:
    """A log of which every row can be used.

    Attributes:
        interactions: rows as in :class:`RawLog`, in the order of the files, without the dropped ones.
        behaviours: rows of a behaviour table of its own, or None.
        items: exactly one row per item, or None; it may lack items under ``on_missing_items=unknown``.
        described_users: exactly one row per user with the user's fields, or None; it may lack users under ``on_missing_users=unknown``.
        has_histories: whether rows bring their histories.
        users: each user of the log and its ``rows``, in order.
        item_ids: each item of the log, in order; items that occur only in the item table are left out.
        raw: fields, unit and names of the log.
        counts: rows read and dropped, by name; counts of the other tables are prefixed with the table's name.
    """

    interactions: FrameSpool
    behaviours: FrameSpool | None
    items: pl.DataFrame | None
    described_users: pl.DataFrame | None
    has_histories: bool
    users: pl.DataFrame
    item_ids: pl.Series
    raw: RawLog
    counts: dict[str, int]

    @cached_property
    def item_numbers(self) -> NDArray[np.uint64]:
        """(I,) numbers of the items' raw ids; see :mod:`clickflow.data.id_numbers`."""
        return id_numbers(self.item_ids.to_arrow())

    @property
    def behaviours_are_interactions(self) -> bool:
        """Whether histories hold rows of the interactions."""
        return self.behaviours is None and not self.has_histories

    @property
    def has_lists(self) -> bool:
        """Whether rows were ranked in lists."""
        return LIST in self.interactions.schema or CANDIDATES in self.interactions.schema


def check(raw: RawLog, config: SourceConfig, scratch: Scratch = IN_MEMORY) -> CheckedLog:
    """Read a log and check it.

    Args:
        raw: the log as a source read it.
        config: how to treat bad rows and missing items.
        scratch: where its rows wait.

    Raises:
        DataError: one line per kind of fault, with file, column, row (counted from 1, without a header), value and remedy.
    """
    tables = {"interactions": raw.interactions, "behaviours": raw.behaviours, "items": raw.items, "users": raw.users}
    checks = {name: _TableCheck(name, raw, frame) for name, frame in tables.items() if frame is not None}
    events = {"interactions": raw.interactions} | ({} if raw.behaviours is None else {"behaviours": raw.behaviours})
    spools: dict[str, FrameSpool] = {}
    listed: Counter[str] = Counter()
    users, impression_users, item_ids, described = Tally(USER), Tally(USER), Tally(ITEM), Tally(ITEM)
    fields = [spec.name for spec in raw.fields if spec.role == "item"]
    for name, frame in events.items():
        spool = spools[name] = FrameSpool(scratch.folder / f"{name}.arrow", scratch.limit_bytes)
        for piece in _pieces(frame, checks[name].origin):
            sound = checks[name].sound_rows(piece)
            users.add(sound[USER])
            rows = _listing(sound, listed)
            for ids in _item_ids(rows):
                item_ids.add(ids)
            if name == "interactions":
                impression_users.add(rows[USER])
            elif are_known := [pl.col(field).is_not_null() for field in fields if field in sound.columns]:
                described.add(sound.filter(pl.any_horizontal(are_known))[ITEM])
            spool.append(sound)
            scratch.report(sum(one.num_rows for one in checks.values()), None)
    problems: list[str] = []
    counts: dict[str, int] = {}
    whole, sound_tables = {}, {}
    for name in [role for role in ROLES if role in checks]:
        lazy = tables[name]
        assert lazy is not None
        with reading(checks[name].origin):
            whole[name] = lazy.collect(engine="streaming")
        sound_tables[name] = checks[name].sound_rows(whole[name])
    for one in checks.values():
        one.report(config, problems, counts)
    for one in checks.values():
        problems += one.missing.report(config, counts)
    problems += candidate_lists.refuse_without_candidates(RawTable("interactions", pl.DataFrame(), raw), listed)
    needing = {"items": item_ids, "users": impression_users}
    for name, key in ROLES.items():
        if name in sound_tables:
            sound_tables[name] = _one_row_each(sound_tables[name], key, counts)
            if all(one.num_rows for one in checks.values()):
                known = [whole[name][key], *([described.table()[key]] if name == "items" and described.has_values else [])]
                problems += _missing(checks[name], key, needing[name].table()[key], known, config, counts)
    if problems:
        raise several(list(dict.fromkeys(problems)), "the log")  # tables of the same files share faults
    return CheckedLog(
        interactions=spools["interactions"],
        behaviours=spools.get("behaviours"),
        items=sound_tables.get("items"),
        described_users=sound_tables.get("users"),
        has_histories=GIVEN_HISTORY in spools["interactions"].schema,
        users=users.table(),
        item_ids=item_ids.table()[ITEM],
        raw=raw,
        counts=counts,
    )


def _listing(frame: pl.DataFrame, listed: Counter[str]) -> pl.DataFrame:
    """The rows that list a candidate, if rows list candidates; counts the lists."""
    counts: dict[str, int] = {}
    rows = candidate_lists.with_candidates(frame, counts)
    listed.update(counts)
    return rows


def _item_ids(rows: pl.DataFrame) -> Iterator[pl.Series]:
    """The items of a piece, those in lists of candidates and in histories among them."""
    if GIVEN_HISTORY in rows.columns:
        yield given_histories.items_of(rows)[ITEM]
    yield rows[CANDIDATES].explode() if CANDIDATES in rows.columns else rows[ITEM]


def _pieces(frame: pl.LazyFrame, origin: str) -> Iterator[pl.DataFrame]:
    """The rows of a table in the order of its files; at least one piece."""
    with reading(origin):
        yield pl.DataFrame(schema=frame.collect_schema())
        pieces = frame.collect_batches(chunk_size=PIECE_ROWS, maintain_order=True, engine="streaming")
    while True:
        with reading(origin):
            piece = next(pieces, None)
        if piece is None:
            return
        yield piece


class _TableCheck:
    """The check of one table, piece by piece."""

    def __init__(self, name: str, raw: RawLog, frame: pl.LazyFrame) -> None:
        self.name, self.raw, self._frame = name, raw, frame
        self.num_rows = 0
        self.missing = MissingValues(name, raw)
        self._table = RawTable(name, pl.DataFrame(), raw)
        self._begins: dict[str, int] = {}
        self._unit = UnitCheck()
        self._findings = Findings()
        self._num_bad = self._num_bad_but_for_times = 0

    @property
    def origin(self) -> str:
        """The file or files."""
        return self._table.origin

    def column(self, name: str) -> str:
        """Name of a canonical column in the user's file."""
        return self._table.column(name)

    @cached_property
    def has_zero_labels(self) -> bool:
        """Whether some row of the table has 0 as its label, where the label is not -1; reads the column of labels once more."""
        given_label = given(LABEL)
        minus = no_click_as_minus_one(pl.col(given_label), self._frame.collect_schema()[given_label])
        with reading(self.origin):
            return bool(self._frame.select(((pl.col(LABEL) == 0) & ~minus).any()).collect(engine="streaming").item())

    def sound_rows(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows of a piece that have no fault, in canonical columns."""
        if FILE in frame.columns:
            self._note_files(frame[FILE])
        table = RawTable(self.name, frame, self.raw, self.num_rows, self._begins, lambda: self.has_zero_labels)
        self.num_rows += frame.height
        self._unit.add(table)
        self.missing.add(table)
        sound = frame.select(pl.exclude("^given:.*$"))
        faults = list(row_faults(table))
        if not faults:
            return sound
        for fault in faults:
            self._findings.add(table, fault)
        none = pl.repeat(False, frame.height, eager=True)
        self._num_bad_but_for_times += int(reduce(or_, (fault.bad for fault in faults if not fault.is_time), none).sum())
        bad = reduce(or_, (fault.bad for fault in faults), none)
        self._num_bad += int(bad.sum())
        return sound.filter(~bad)

    def report(self, config: SourceConfig, problems: list[str], counts: dict[str, int]) -> None:
        """Say what is wrong, or what was dropped; adds to ``problems`` and ``counts``."""
        refused = self._table.refused
        num_rows, origin = self.num_rows + refused.count, self.origin
        left_out = self._table.left_out
        counts[count_name("rows_read", self.name)] = num_rows + sum(left_out.values())
        counts.update({count_name(reason, self.name): rows for reason, rows in left_out.items()})
        if not num_rows:
            problems.append(f"{origin} = 0 rows: there is nothing in it but column names; write it again with its rows.")
        sentence = self._unit.wrong(self.raw.timestamp_unit, self.num_rows)
        if sentence:  # never dropped: that could remove half of a log
            problems.append(sentence)
        findings = self._findings.all(with_times=sentence is None)
        num_bad = (self._num_bad if sentence is None else self._num_bad_but_for_times) + refused.count
        if not num_bad:
            return
        reasons = {str(finding): finding.count for finding in findings}
        if refused.count:
            more = refused.count - 1
            like = f" (and so in {more:,} more line{'s' if more > 1 else ''})" if more else ""
            reasons[refused.first + like] = refused.count
        too_many = num_bad > config.max_bad_share * num_rows
        share = f"{num_bad:,} of {num_rows:,} rows"
        if config.on_bad_rows == "error":
            problems += [f"{reason}; {_remedy(count, share, too_many, config)}" for reason, count in reasons.items()]
            return
        if num_bad == num_rows:
            first = next(iter(reasons))
            problems.append(f"{origin}: no row is left after dropping bad ones; the first of them: {first}; fix the rows.")
        elif too_many:
            problems += [f"{reason}; {_remedy(count, share, too_many, config)}" for reason, count in reasons.items()]
        else:
            logger.warning("dropped %s:\n  %s", share, "\n  ".join(reasons))
        counts[count_name("bad_rows_dropped", self.name)] = num_bad
        self._count_dropped(findings, counts)

    def _count_dropped(self, findings: list[Finding], counts: dict[str, int]) -> None:
        for finding in findings:
            counts[f"{DROPPED}{self._table.label}, {self._table.column(finding.column)} {finding.wrong.partition(',')[0]}"] = finding.count
        if self._table.refused.count:
            counts[f"{DROPPED}{self._table.label}, lines that are no rows"] = self._table.refused.count

    def _note_files(self, files: pl.Series) -> None:
        """Note where in the table each file begins."""
        codes = files.to_physical().to_numpy()
        for start in np.append(0, np.flatnonzero(np.diff(codes)) + 1)[: len(codes)].tolist():
            self._begins.setdefault(str(files[start]), self.num_rows + start)


def _remedy(count: int, share: str, too_many: bool, config: SourceConfig) -> str:
    """Advice that is safe to follow."""
    rows = "fix the row" if count == 1 else "fix the rows"
    if not too_many:
        return f"{rows} or set data.on_bad_rows=drop (drops are counted and logged)."
    return (
        f"{rows}: {share} are bad, and data.max_bad_share={config.max_bad_share:g} is the most that data.on_bad_rows=drop drops; "
        "check the options of the column, or raise it if these rows are no loss."
    )


def _one_row_each(frame: pl.DataFrame, key: str, counts: dict[str, int]) -> pl.DataFrame:
    """Each item or user once; its fields agree, its title may not."""
    distinct = frame.drop_nulls(key).unique()
    counts[f"{key}s_duplicate_rows"] = frame.height - distinct.height
    return distinct.sort(pl.all(), nulls_last=True).unique(subset=key, keep="first", maintain_order=True)


def _missing(
    table: _TableCheck, key: str, needing: pl.Series, known: list[pl.Series], config: SourceConfig, counts: dict[str, int]
) -> Iterator[str]:
    """A problem if some items or users of the log are in no table that describes them.

    Those of the table as read are known, so that one with a bad row is not told to be missing too.
    """
    absent = needing.to_frame().join(pl.concat(known).alias(key).to_frame(), on=key, how="anti", maintain_order="left")[key]
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


def count_name(what: str, table: str) -> str:
    """Name of a count of a table."""
    return what if table == "interactions" else f"{table}_{what}"
