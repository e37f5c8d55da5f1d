"""A checked log as integer arrays, part by part: ids coded, behaviours sorted, impressions split.

Raw ids become dense codes at once; everything after that is arithmetic on arrays. Where the split is by time the whole log decides it,
so the parts are kept until all moments are known.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clickflow.data.arrays import ByteArray
from clickflow.data.behaviours import Behaviours
from clickflow.data.coding import coded, codes
from clickflow.data.given_histories import as_behaviours, items_of
from clickflow.data.log_parts import LogPart, LogParts
from clickflow.data.protocols import Impressions, Interactions, NextItemConfig, ProtocolConfig, SplitRule
from clickflow.data.schema import ITEM, SPLIT, USER
from clickflow.data.scratch import ColumnSpool, Shelf
from clickflow.data.splits import NO_SPLIT, TRAIN
from clickflow.data.validation import CheckedLog
from clickflow.errors import DataError


@dataclass(frozen=True)
class PartRows:
    """The rows of some neighbouring users; items are codes, the position among the sorted raw ids.

    Attributes:
        first_user: code of group 0.
        behaviours: N behaviours.
        impressions: R rows of the log that are in a split (under ``next_item`` the positives).
        source: the interactions, with codes as ``item``, in the order of the impressions' ``source_row``.
        table: the same of the behaviour table, or None.
    """

    first_user: int
    behaviours: Behaviours
    impressions: Impressions
    source: pl.DataFrame
    table: pl.DataFrame | None

    @property
    def split(self) -> ByteArray:
        """(R,) code of each impression's split."""
        assert self.impressions.split is not None
        return self.impressions.split

    @property
    def events(self) -> pl.DataFrame:
        """The table that the behaviours come from, in the order of their ``source_row``, unless rows bring their histories."""
        return self.source if self.table is None else self.table

    @cached_property
    def train_behaviours(self) -> NDArray[np.bool_]:
        """(N,) whether a behaviour is in some history of train."""
        is_train, num_edges = self.split == TRAIN, len(self.behaviours.group) + 1
        begin = np.bincount(self.impressions.history_start[is_train], minlength=num_edges)
        end = np.bincount(self.impressions.history_end[is_train], minlength=num_edges)
        return np.cumsum(begin - end)[:-1] > 0


class LogRows:
    """The rows of a log under a protocol, part by part, as often as they are asked for.

    Attributes:
        num_behaviours: of all parts.
        has_order: whether any user's behaviours happened at two different moments, or any history that a row brings is a sequence.
        moments: first and last moment of the impressions that the whole log splits, or None.
        counts: rows merged or noted, by name.
    """

    def __init__(self, log: CheckedLog, parts: LogParts, protocol: ProtocolConfig, name: str) -> None:
        """Sort the parts of a log and apply a protocol.

        Args:
            log: checked rows.
            parts: its parts.
            protocol: which rows are impressions, and the splits.
            name: name of the data set, for messages.

        Raises:
            DataError: the log has fields that the protocol's rows cannot have.
        """
        if isinstance(protocol, NextItemConfig):
            _refuse_fields_without_rows(log, name)
        self.num_behaviours, self.has_order = 0, False
        self.moments: tuple[int, int] | None = None
        self.counts: Counter[str] = Counter()
        self._num_parts, self._report, self._num_rows = len(parts), parts.report, 0
        self._shelf = Shelf[PartRows](None if parts.folder is None else parts.folder / "rows")
        moments = ColumnSpool(None if parts.folder is None else parts.folder / "moments", np.int64)
        self._rule: SplitRule | None = None
        for number, part in enumerate(parts):
            rows = self._rows(part, log, protocol)
            self._num_rows += rows.source.height
            self._shelf.put(number, rows)
            if rows.impressions.split is None:
                moments.append(rows.impressions.timestamp)
        if len(moments):
            self.moments = min(int(block.min()) for block in moments.blocks()), max(int(block.max()) for block in moments.blocks())
            self._rule = protocol.split_rule(len(log.users), moments.blocks, log.raw.timestamp_unit)

    def __iter__(self) -> Iterator[PartRows]:
        done = 0
        for number in range(self._num_parts):
            rows = self._shelf.get(number)
            yield replace(rows, impressions=self._decided(rows))
            done += rows.source.height
            self._report(done, self._num_rows)

    def _decided(self, rows: PartRows) -> Impressions:
        """The impressions of a part that are in a split."""
        impressions, split = rows.impressions, rows.impressions.split
        if split is None:
            rule = self._rule
            split = np.zeros(0, np.uint8) if rule is None else rule(impressions.group + rows.first_user, impressions.timestamp)
            impressions = replace(impressions, split=split)
        kept = split != NO_SPLIT
        return impressions if kept.all() else Impressions(*(getattr(impressions, column.name)[kept] for column in fields(impressions)))

    def _rows(self, part: LogPart, log: CheckedLog, protocol: ProtocolConfig) -> PartRows:
        interactions, past, reported = _events(part, log, protocol)
        behaviours = reported.without_repeats() if isinstance(protocol, NextItemConfig) else reported
        self.num_behaviours += len(behaviours.group)
        of_same_user = np.diff(behaviours.group) == 0
        self.has_order |= bool((np.diff(behaviours.timestamp)[of_same_user] != 0).any())
        if part.histories is None:
            self.counts["identical_events_merged"] += len(reported.group) - len(behaviours.group)
            self.counts["behaviours_sharing_a_moment"] += behaviours.num_simultaneous
            self.counts["users_with_one_behaviour"] += int((np.diff(behaviours.starts) == 1).sum())
        return PartRows(
            first_user=part.first_user,
            behaviours=replace(behaviours),  # without what it has computed for itself
            impressions=protocol.impressions(interactions, behaviours),
            source=_with_codes(part.interactions, interactions),
            table=None if part.behaviours is None else _with_codes(part.behaviours, past),
        )


def _with_codes(frame: pl.DataFrame, coded_rows: Interactions) -> pl.DataFrame:
    """The columns of a table with codes in place of the items; users are known by group."""
    item = np.empty_like(coded_rows.item)
    item[coded_rows.source_row] = coded_rows.item
    return frame.drop(USER).with_columns(pl.Series(ITEM, item))


def _refuse_fields_without_rows(log: CheckedLog, name: str) -> None:
    if log.behaviours is None:
        return
    if SPLIT in log.interactions.schema:
        raise DataError(
            f"data set {name}: next_item takes its rows from the behaviour table, which names no splits; leave out data.behaviours or the "
            "splits, or choose protocol=impressions."
        )
    if any(field.role != "item" for field in log.raw.fields):
        raise DataError(
            f"data set {name}: next_item takes its rows from the behaviour table, which has no user or context fields; "
            "leave out data.behaviours or the fields, or choose protocol=impressions."
        )


def _events(part: LogPart, log: CheckedLog, protocol: ProtocolConfig) -> tuple[Interactions, Interactions, Behaviours]:
    """The rows of the log, those of the table that behaviours come from, and the behaviours.

    These are of the rows' own histories, else of a table of their own, else the clicks, else all rows.
    """
    seed = protocol.seed if isinstance(protocol, NextItemConfig) else 0
    interactions = coded(part, part.interactions, log, seed)
    if part.histories is not None:
        return interactions, interactions, as_behaviours(part.histories, codes(items_of(part.histories)[ITEM], log.item_ids))
    past = interactions if part.behaviours is None else coded(part, part.behaviours, log, seed)
    chosen = slice(None) if past.label is None else np.flatnonzero(past.label)
    behaviours = Behaviours.of(past.group[chosen], past.item[chosen], past.timestamp[chosen], past.source_row[chosen], len(part.users))
    return interactions, past, behaviours
