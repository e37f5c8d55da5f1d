"""A click log of your own: Parquet, CSV or NDJSON files, mapped to canonical columns by YAML alone (docs/bring-your-data.md).

The mapping names what the pipeline needs and leaves the rest of the file unread: a wide Parquet log costs only the columns in use.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import polars as pl
from pydantic import Field

from clickflow.config import Contradictions
from clickflow.data.schema import (
    CANDIDATES,
    CLICKED,
    GIVEN_HISTORY,
    ITEM,
    KIND,
    LABEL,
    LIST,
    RATING,
    SPLIT,
    TIMESTAMP,
    TITLE,
    USER,
    FieldSpec,
    Role,
    TimestampUnit,
)
from clickflow.data.sources import columns, formats, row_lists
from clickflow.data.sources.columns import Canonical, Selection
from clickflow.data.sources.conditions import Where, conditions
from clickflow.data.sources.dialect import Dialect
from clickflow.data.sources.labels import label, outcomes
from clickflow.data.sources.log_columns import (
    BehaviourTableConfig,
    EventColumns,
    FieldColumn,
    ItemTableConfig,
    LogColumns,
    Paths,
    UserTableConfig,
)
from clickflow.data.sources.log_needs import needed
from clickflow.data.sources.log_problems import log_problems
from clickflow.data.sources.parts import FILE
from clickflow.data.sources.raw import RawLog
from clickflow.data.sources.source import SourceConfig
from clickflow.data.sources.timestamps import Timestamps, timestamps
from clickflow.data.sources.where import choose
from clickflow.errors import DataError

POSITION = "given:position"
"""Column of a temporary frame: the position of each row in all files of its table."""
BY_WHERE, NO_IMPRESSIONS = "left_out_by_where", "no_impressions"
"""Reasons why rows are left out."""


class LogConfig(SourceConfig, Dialect):
    """Any Parquet, CSV or NDJSON log."""

    source: Literal["log"] = "log"
    path: Paths
    """A file, a glob, a folder or a list of files; a relative path starts at the working directory."""
    validation_path: Paths | None = None
    """Files of the validation split, where the log comes split; ``path`` then holds the train split."""
    test_path: Paths | None = None
    """Files of the test split, where the log comes split."""
    where: Where = {}
    """Rows of the log that count: column -> value or list of values, compared as texts; all conditions must hold."""
    columns: LogColumns
    timestamp_unit: TimestampUnit = "seconds"
    """Meaning of integer timestamps; ``order`` is a position, not a clock. Dates and date-times need no unit."""
    history_separator: Annotated[str, Field(min_length=1)] | None = None
    """Between the items of ``columns.history`` where it holds texts, as in ``a^b^c``; null: it holds lists."""
    timestamp_format: str | None = None
    """strptime format of texts that are not ISO 8601, and of integers that are dates, such as 20240531."""
    item_fields: dict[str, FieldColumn] = {}
    """Fields of an item by the name they get, as ``{category: {column: cat_id}}``."""
    user_fields: dict[str, FieldColumn] = {}
    """Fields of a user, as ``{age: {column: user_age, kind: numeric}}``."""
    context_fields: dict[str, FieldColumn] = {}
    """Fields of an impression, as ``{device: {column: device}}``."""
    behaviours: BehaviourTableConfig | None = None
    """Behaviours in a table of their own (``path``, ``columns``) or among the log's rows (``where``); null: the clicks of the log."""
    items: ItemTableConfig | None = None
    """The table that item fields are read from, with ``path``, ``column`` and ``title``; null: the log itself."""
    users: UserTableConfig | None = None
    """The table that user fields are read from, with ``path`` and ``column``; null: the log itself."""

    def _contradictions(self) -> Contradictions:
        yield from log_problems(self)

    @property
    def behaviours_share_files(self) -> bool:
        """Whether the behaviours are rows of the log's own files."""
        return self.behaviours is not None and self.behaviours.path is None

    @property
    def behaviour_columns(self) -> EventColumns | LogColumns:
        """Columns of the behaviours: their own, or the log's."""
        own = None if self.behaviours is None else self.behaviours.columns
        return own or self.columns

    @property
    def behaviour_item_fields(self) -> dict[str, FieldColumn]:
        """Item fields that are read from the behaviours, with their columns there."""
        if self.behaviours is None:
            return {}
        if self.behaviours.item_fields is None:
            return self.item_fields if self.behaviours_share_files and self.items is None else {}
        return {name: FieldColumn(column=column, kind=self.item_fields[name].kind) for name, column in self.behaviours.item_fields.items()}

    def files(self, downloads: Path) -> tuple[Path, ...]:
        """The log's files, then those of the behaviour, item and user tables; see :meth:`SourceConfig.files`."""
        return tuple(file for group in self._expanded().values() for file in group)

    def read(self, files: tuple[Path, ...]) -> RawLog:
        """See :meth:`SourceConfig.read`."""
        groups, chosen = self._expanded(), set(files)
        scanned = {table: self._scan(table, [file for file in group if file in chosen]) for table, group in groups.items()}
        where = {name: ", ".join(formats.labels(group)) for name, group in groups.items()}
        if self.behaviours_share_files:
            scanned["behaviours"], where["behaviours"] = scanned["interactions"], where["interactions"]
        left_out: dict[str, dict[str, int]] = {}
        selections = {name: self._selection(name, found.frame, where[name], left_out) for name, found in scanned.items()}
        unit = self._add_events(selections)
        self._add_outcomes(selections["interactions"])
        _add_fields(selections["interactions"], self._fields_of_the_log(), self.decimal)
        self._add_tables(selections)
        row_lists.add(selections["interactions"], self)
        for alike in ((USER,), (ITEM, CANDIDATES, CLICKED, GIVEN_HISTORY), *((name,) for name in self.behaviour_item_fields)):
            columns.make_alike(selections.values(), alike)
        names: dict[str, str] = {}
        frames = {name: selection.select(names) for name, selection in selections.items()}
        return RawLog(
            interactions=self._with_splits(frames["interactions"]),
            fields=tuple(self._fields()),
            items=frames.get("items"),
            users=frames.get("users"),
            behaviours=frames.get("behaviours"),
            timestamp_unit=unit,
            columns=names,
            origins=where,
            refused={name: found.refused for name, found in scanned.items()},
            left_out=left_out,
        )

    def _expanded(self) -> dict[str, tuple[Path, ...]]:
        tables = {"interactions": tuple(file for files in self._expanded_splits() for file in files)}
        for name, own in self._tables().items():
            if own.path is not None:
                tables[name] = formats.expand(own.path, f"data.{name}.path", own.format)
        return tables

    def _tables(self) -> dict[str, BehaviourTableConfig | ItemTableConfig | UserTableConfig]:
        tables = {"behaviours": self.behaviours, "items": self.items, "users": self.users}
        return {name: own for name, own in tables.items() if own is not None}

    def _scan(self, table: str, files: list[Path]) -> formats.Table:
        """The columns of a table's files; rows are numbered where some are left out."""
        chosen = bool(self._where(table)) or (table == "interactions" and bool(outcomes(self.columns.label)))
        if table == "interactions" and self.behaviours_share_files:
            chosen = chosen or bool(self._where("behaviours"))
        return formats.scan(files, needed(table, self), self._dialect(table), chosen)

    def _where(self, table: str) -> Mapping[str, tuple[str | None, ...]]:
        return self.where if table == "interactions" else self._tables()[table].where

    def _selection(self, name: str, frame: pl.LazyFrame, where: str, left_out: dict[str, dict[str, int]]) -> Selection:
        """The rows of a table that count; adds the number of the others to ``left_out``."""
        if self.columns.timestamp is None and name in ("interactions", "behaviours"):
            frame = frame.with_row_index(POSITION)
        label = self.columns.label if name == "interactions" else None
        own, events = conditions(self._where(name), "where" if name == "interactions" else f"{name}.where"), outcomes(label)
        if own or events:
            keeps_others = label is None or label.negative is None
            dialect = self._dialect(name)
            chosen = choose(frame, own, events, keeps_others=keeps_others, place=where, null_values=dialect.null_values)
            frame = chosen.frame
            left_out[name] = ({BY_WHERE: chosen.left_out} if own else {}) | ({} if keeps_others else {NO_IMPRESSIONS: chosen.neither})
        return Selection(frame, where, name)

    def _expanded_splits(self) -> list[tuple[Path, ...]]:
        """The files of each split, or of the whole log.

        Raises:
            DataError: two splits share a file.
        """
        paths = {"data.path": self.path, "data.validation_path": self.validation_path, "data.test_path": self.test_path}
        splits = {key: formats.expand(files, key, self.format) for key, files in paths.items() if files is not None}
        first: dict[Path, str] = {}
        for key, group in splits.items():
            for file in group:
                if (other := first.setdefault(file.resolve(), key)) != key:
                    raise DataError(f"{key} = {file}: is a file of {other} too; each split has files of its own; name another one.")
        return list(splits.values())

    def _with_splits(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """Add the split that a row's file stands for, if each split has files of its own."""
        groups = self._expanded_splits()
        if len(groups) == 1:
            return frame
        names = formats.labels([file for files in groups for file in files])
        codes = [code for code, files in enumerate(groups) for _ in files]
        split = pl.col(FILE).cast(pl.String).replace_strict(names, codes, return_dtype=pl.UInt8)
        return frame.with_columns(split.alias(SPLIT))

    def _fields_of_the_log(self) -> dict[str, FieldColumn]:
        """Fields that are columns of the log itself."""
        return {**({} if self.users else self.user_fields), **self.context_fields, **({} if self.items else self.item_fields)}

    def _fields(self) -> Iterator[FieldSpec]:
        groups: tuple[tuple[Role, dict[str, FieldColumn]], ...] = (
            ("item", self.item_fields),
            ("user", self.user_fields),
            ("context", self.context_fields),
        )
        for role, fields in groups:
            for name, field in fields.items():
                yield FieldSpec(name=name, role=role, kind=field.kind)

    def _add_outcomes(self, events: Selection) -> None:
        """Add what the log says of a row beside user, item and timestamp."""
        if self.columns.label is not None:
            events.add(label(self.columns.label), LABEL, self.columns.label.column)
        if self.columns.rating is not None:
            events.add(partial(columns.number, decimal=self.decimal), RATING, self.columns.rating)
        if self.columns.split is not None:
            events.add(columns.split, SPLIT, self.columns.split)
        if self.columns.group is not None:
            events.add(columns.list_identifier, LIST, self.columns.group)

    def _add_tables(self, selections: dict[str, Selection]) -> None:
        """The columns of the item table and the user table, and the item fields of the behaviours."""
        if self.items is not None:
            items = selections["items"]
            items.add_item(self.items.column)
            if self.items.title is not None:
                items.add(columns.category, TITLE, self.items.title)
            _add_fields(items, self.item_fields, self._dialect("items").decimal)
        if self.users is not None:
            selections["users"].add(columns.identifier, USER, self.users.column)
            _add_fields(selections["users"], self.user_fields, self._dialect("users").decimal)
        if self.behaviours is not None:
            _add_fields(selections["behaviours"], self.behaviour_item_fields, self._dialect("behaviours").decimal)

    def _dialect(self, table: str) -> Dialect:
        own = self._tables().get(table)
        return self if own is None or own.path is None else own.resolved(self)

    def _add_events(self, selections: dict[str, Selection]) -> TimestampUnit:
        """User, item and timestamp of log and behaviour table; returns the unit that their timestamps will have.

        Raises:
            DataError: the tables' timestamps cannot be compared.
        """
        mappings: dict[str, EventColumns | LogColumns] = {"interactions": self.columns}
        if self.behaviours is not None:
            mappings["behaviours"] = self.behaviour_columns
        found: dict[str, Timestamps] = {}
        for name, mapping in mappings.items():
            table = selections[name]
            table.add(columns.identifier, USER, mapping.user)
            if mapping.item is not None:
                table.add_item(mapping.item)
            if mapping.kind is not None and (name == "behaviours" or self.behaviours is None):
                table.add(columns.category, KIND, mapping.kind)
            if mapping.timestamp is None:
                table.columns.append(Canonical(TIMESTAMP, "(position)", pl.col(POSITION).cast(pl.Int64)))
                continue
            try:
                found[name] = timestamps(table, mapping.timestamp, self.timestamp_unit, self.timestamp_format, self._dialect(name).decimal)
            except DataError as error:
                table.problems.append(str(error))
        if len({one.is_clock for one in found.values()}) > 1:
            log, own = (("microseconds" if one.is_clock else self.timestamp_unit) for one in found.values())
            raise DataError(
                f"{selections['behaviours'].where}, column '{found['behaviours'].source}' = {own}: the log's timestamps are {log}; "
                "log and behaviour table must hold both integers of one unit or both date-times."
            )
        in_microseconds = any(one.is_clock or one.has_fraction for one in found.values())
        for name, one in found.items():
            selections[name].columns.append(one.canonical(self.timestamp_unit, in_microseconds))
        return "microseconds" if in_microseconds else self.timestamp_unit


def _add_fields(table: Selection, fields: dict[str, FieldColumn], decimal: str) -> None:
    for name, field in fields.items():
        table.add(partial(columns.number, decimal=decimal) if field.kind == "numeric" else columns.category, name, field.column)
