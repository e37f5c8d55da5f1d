"""A checked log in parts of neighbouring users, each small enough to be worked on in memory.

Everything about a user is in his part, so the work on a part needs no other one. Raw ids are codes from here on: the position among the
sorted ones. A small log is one part, which stays in memory.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from clickflow.data import candidate_lists, given_histories
from clickflow.data.arrays import IntArray
from clickflow.data.field_values import FieldSummary
from clickflow.data.schema import CANDIDATE_LABELS, CANDIDATES, CLICKED, ITEM, KIND, LABEL, LIST, RATING, TIMESTAMP, USER
from clickflow.data.scratch import FrameSpool, Scratch
from clickflow.data.sources.source import SourceConfig
from clickflow.data.tallies import ROWS
from clickflow.data.validation import CheckedLog, count_name

PART = "given:part"
MAX_PARTS = 256
"""Each part of a table is an open file while rows are moved to it, and a process may have some 1,000."""


@dataclass(frozen=True)
class LogPart:
    """All rows of some users.

    Attributes:
        first_user: code of the first one.
        users: their raw ids, in order.
        interactions: their rows of the log.
        behaviours: their rows of the behaviour table, or None.
        histories: the different histories that their rows bring (:mod:`clickflow.data.given_histories`), or None.
    """

    first_user: int
    users: pl.Series
    interactions: pl.DataFrame
    behaviours: pl.DataFrame | None
    histories: pl.DataFrame | None


class LogParts:
    """The parts of a log, in the order of users; each is taken once.

    Attributes:
        folder: where the parts of a later stage are kept; None for a single one, which stays in memory.
        report: told of rows as they are done.
        counts: repeated rows and values of fields, by name; whole when all parts were taken.
    """

    def __init__(self, log: CheckedLog, config: SourceConfig, scratch: Scratch) -> None:
        """Cut a log into parts.

        Args:
            log: its rows, which are moved.
            config: how to treat duplicates.
            scratch: where the parts wait, and how large they may be.
        """
        self._log, self._config, self.report = log, config, scratch.report
        self.counts: Counter[str] = Counter()
        of_items = [] if log.items is None else [spec for spec in log.raw.fields if spec.role == "item" and spec.name in log.items.columns]
        self._of_items = FieldSummary(of_items)
        columns = [*log.interactions.schema, *([] if log.described_users is None else log.described_users.columns)]
        self._of_rows = FieldSummary(spec for spec in log.raw.fields if spec not in of_items and spec.name in columns)
        tables = {"interactions": log.interactions, "behaviours": log.behaviours}
        present = {name: spool for name, spool in tables.items() if spool is not None}
        self._starts = _first_users(log.users[ROWS].to_numpy(), sum(spool.num_bytes for spool in present.values()), scratch.limit_bytes)
        self.folder = scratch.folder if len(self) > 1 else None
        bounds = log.users[USER].gather(self._starts[1:-1])
        self._spools = {
            name: [spool] if self.folder is None else _partitioned(spool, bounds, self.folder / name) for name, spool in present.items()
        }

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __iter__(self) -> Iterator[LogPart]:
        for name in self._spools:
            self.counts[count_name("duplicate_rows", name)] = 0
        done, total = 0, sum(part.num_rows for parts in self._spools.values() for part in parts)
        for part in range(len(self)):
            first, end = int(self._starts[part]), int(self._starts[part + 1])
            frames = {name: self._without_repeats(name, spools[part]) for name, spools in self._spools.items()}
            interactions, histories = self._taken_apart(frames["interactions"])
            if self._log.described_users is not None:
                interactions = interactions.join(self._log.described_users, on=USER, how="left", maintain_order="left")
            self._of_rows.add(interactions)
            yield LogPart(first, self._log.users[USER][first:end], interactions, frames.get("behaviours"), histories)
            done += sum(spools[part].num_rows for spools in self._spools.values())
            self.report(done, total)
        self.counts = Counter(dict(sorted(self.counts.items())))  # whichever part was the first to count something
        if self._log.items is not None:
            self._of_items.add(self._log.items)
        self._of_items.report(self.counts)
        self._of_rows.report(self.counts)

    def _taken_apart(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame | None]:
        """One row per candidate, if rows list them; and the histories that rows bring."""
        counts: dict[str, int] = {}
        first_list = self.counts["candidate_lists"]
        rows, histories = given_histories.numbered(candidate_lists.with_candidates(frame, counts), counts)
        self.counts.update(counts)
        return candidate_lists.taken_apart(rows, first_list), histories

    def _without_repeats(self, name: str, spool: FrameSpool) -> pl.DataFrame:
        """Rows of a part; identical ones are counted, and dropped if the config says so."""
        frame = spool.whole()
        spool.discard()
        lists = (CANDIDATES, CANDIDATE_LABELS, CLICKED)
        keys = [column for column in (USER, ITEM, TIMESTAMP, LABEL, RATING, LIST, KIND, *lists) if column in frame.columns]
        repeats = _num_repeats(frame.select(keys))
        self.counts[count_name("duplicate_rows", name)] += repeats
        if not repeats or self._config.duplicates == "keep":
            return frame
        self.counts[count_name("duplicate_rows_dropped", name)] += repeats
        repeated = frame.select(keys).is_duplicated()
        first = frame.filter(repeated).sort(pl.all()).unique(subset=keys, keep="first", maintain_order=True)
        return pl.concat([frame.filter(~repeated), first])


def _num_repeats(rows: pl.DataFrame) -> int:
    """Count rows that repeat an earlier one."""
    # Equal rows have equal hashes, and hashes compare three times as fast; rows that share a hash are then compared in full.
    hashes = rows.hash_rows()
    if hashes.n_unique() == rows.height:
        return 0
    alike = rows.filter(hashes.is_duplicated())
    return alike.height - alike.n_unique()


def _first_users(rows: IntArray, num_bytes: int, limit_bytes: int) -> IntArray:
    """Cut users into parts of about equal rows.

    Args:
        rows: (U,) rows of each user.
        num_bytes: bytes of all rows.
        limit_bytes: bytes that a part should have at most; a user is never cut in two, and there are at most ``MAX_PARTS``.

    Returns:
        (P + 1,) first user of each part, and U.
    """
    num_parts = min(MAX_PARTS, -(-num_bytes // limit_bytes)) if limit_bytes < num_bytes else 1
    before = np.cumsum(rows) - rows
    part = before * num_parts // max(1, int(rows.sum()))
    return np.append(np.append(0, np.flatnonzero(np.diff(part)) + 1), len(rows))


def _partitioned(spool: FrameSpool, bounds: pl.Series, folder: Path) -> list[FrameSpool]:
    """Move rows to one file for each part."""
    parts = [FrameSpool(folder / f"{part}.arrow", 0) for part in range(len(bounds) + 1)]
    for part in parts:
        part.append(pl.DataFrame(schema=spool.schema))
    for frame in spool.frames():
        part_of = bounds.search_sorted(frame[USER], side="right").alias(PART)
        for (part,), rows in frame.with_columns(part_of).partition_by(PART, as_dict=True, include_key=False).items():
            parts[part].append(rows)
    spool.discard()
    return parts
