"""A click log of your own: Parquet, CSV or NDJSON files, mapped to canonical columns by YAML alone (docs/bring-your-data.md).

The mapping names what the pipeline needs and leaves the rest of the file unread: a wide Parquet log costs only the columns in use.
"""

from collections.abc import Iterator
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
    LABEL,
    LIST,
    RATING,
    SPLIT,
    TITLE,
    USER,
    FieldSpec,
    Role,
    TimestampUnit,
)
from clickflow.data.sources import columns, formats, row_lists
from clickflow.data.sources.columns import Selection
from clickflow.data.sources.dialect import Dialect
from clickflow.data.sources.log_columns import BehaviourTableConfig, EventColumns, FieldColumn, ItemTableConfig, LogColumns, Paths
from clickflow.data.sources.log_problems import log_problems
from clickflow.data.sources.parts import FILE, Needed
from clickflow.data.sources.raw import RawLog
from clickflow.data.sources.source import SourceConfig
from clickflow.data.sources.timestamps import Timestamps, timestamps
from clickflow.errors import DataError


class LogConfig(SourceConfig, Dialect):
    """Any Parquet, CSV or NDJSON log."""

    source: Literal["log"] = "log"
    path: Paths
    """A file, a glob, a folder or a list of files; a relative path starts at the working directory."""
    validation_path: Paths | None = None
    """Files of the validation split, where the log comes split; ``path`` then holds the train split."""
    test_path: Paths | None = None
    """Files of the test split, where the log comes split."""
    columns: LogColumns
    timestamp_unit: TimestampUnit = "seconds"
    """What integer timestamps mean; ``order`` is a position, not a clock. Dates and date-times need no unit."""
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
    """A table of behaviours, with ``path`` and ``columns``; null: the clicks of the log are the behaviours."""
    items: ItemTableConfig | None = None
    """The table that item fields are read from, with ``path``, ``column`` and ``title``; null: the log itself."""

    def _contradictions(self) -> Contradictions:
        yield from log_problems(self)

    def files(self, downloads: Path) -> tuple[Path, ...]:
        """The log's files, then the behaviour table's, then the item table's; see :meth:`SourceConfig.files`."""
        return tuple(file for group in self._expanded().values() for file in group)

    def read(self, files: tuple[Path, ...]) -> RawLog:
        """See :meth:`SourceConfig.read`."""
        tables = {name: [file for file in group if file in files] for name, group in self._expanded().items()}
        names: dict[str, str] = {}
        scanned = {table: formats.scan(files, _needed(table, self), self._dialect(table)) for table, files in tables.items()}
        where = {name: ", ".join(formats.labels(group)) for name, group in tables.items()}
        selections = {name: Selection(found.frame, where[name], name) for name, found in scanned.items()}
        events = selections["interactions"]
        unit = self._add_events(selections)
        if self.columns.label is not None:
            events.add(columns.label, LABEL, self.columns.label)
        if self.columns.rating is not None:
            events.add(partial(columns.number, decimal=self.decimal), RATING, self.columns.rating)
        if self.columns.split is not None:
            events.add(columns.split, SPLIT, self.columns.split)
        if self.columns.group is not None:
            events.add(columns.list_identifier, LIST, self.columns.group)
        _add_fields(events, self._fields_of_the_log(), self.decimal)
        self._add_items(selections)
        row_lists.add(events, self)
        for names_of_ids in ((USER,), (ITEM, CANDIDATES, CLICKED, GIVEN_HISTORY)):
            columns.make_alike(selections.values(), names_of_ids)
        frames = {name: selection.select(names) for name, selection in selections.items()}
        return RawLog(
            interactions=self._with_splits(frames["interactions"]),
            fields=tuple(self._fields()),
            items=frames.get("items"),
            behaviours=frames.get("behaviours"),
            timestamp_unit=unit,
            columns=names,
            origins=where,
            refused={name: found.refused for name, found in scanned.items()},
        )

    def _expanded(self) -> dict[str, tuple[Path, ...]]:
        tables = {"interactions": tuple(file for files in self._expanded_splits() for file in files)}
        if self.behaviours is not None:
            tables["behaviours"] = formats.expand(self.behaviours.path, "data.behaviours.path", self.behaviours.format)
        if self.items is not None:
            tables["items"] = formats.expand(self.items.path, "data.items.path", self.items.format)
        return tables

    def _expanded_splits(self) -> list[tuple[Path, ...]]:
        """The files of each split, or of the whole log."""
        paths = {"data.path": self.path, "data.validation_path": self.validation_path, "data.test_path": self.test_path}
        return [formats.expand(files, key, self.format) for key, files in paths.items() if files is not None]

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
        return {**self.user_fields, **self.context_fields, **({} if self.items else self.item_fields)}

    def _fields(self) -> Iterator[FieldSpec]:
        groups: tuple[tuple[Role, dict[str, FieldColumn]], ...] = (
            ("item", self.item_fields),
            ("user", self.user_fields),
            ("context", self.context_fields),
        )
        for role, fields in groups:
            for name, field in fields.items():
                yield FieldSpec(name=name, role=role, kind=field.kind)

    def _add_items(self, selections: dict[str, Selection]) -> None:
        if self.items is None:
            return
        table = selections["items"]
        table.add(columns.identifier, ITEM, self.items.column)
        if self.items.title is not None:
            table.add(columns.category, TITLE, self.items.title)
        _add_fields(table, self.item_fields, self._dialect("items").decimal)

    def _dialect(self, table: str) -> Dialect:
        own = {"behaviours": self.behaviours, "items": self.items}.get(table)
        return self if own is None else own.resolved(self)

    def _add_events(self, selections: dict[str, Selection]) -> TimestampUnit:
        """User, item and timestamp of log and behaviour table; returns the unit that their timestamps will have.

        Raises:
            DataError: the tables' timestamps cannot be compared.
        """
        mappings: dict[str, EventColumns | LogColumns] = {"interactions": self.columns}
        if self.behaviours is not None:
            mappings["behaviours"] = self.behaviours.columns
        found: dict[str, Timestamps] = {}
        for name, mapping in mappings.items():
            table = selections[name]
            table.add(columns.identifier, USER, mapping.user)
            if mapping.item is not None:
                table.add(columns.identifier, ITEM, mapping.item)
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


def _needed(table: str, config: LogConfig) -> dict[str, Needed]:
    """What the config wants of each column of a table's files."""
    needed: dict[str, Needed] = {}

    def want(column: str | None, key: str, is_name: bool, is_optional: bool = False, is_text: bool = False) -> None:
        if column is not None:
            first = needed.get(column, Needed(key, False, True))
            needed[column] = Needed(first.key, first.is_name or is_name, first.is_optional and is_optional, first.is_text or is_text)

    def want_events(mapping: EventColumns | LogColumns, key: str) -> None:
        for role, column in mapping.by_key.items():
            holds_lists = role in ("history", "candidates.column", "candidates.clicked")
            want(column, f"{key}.{role}", is_name=holds_lists or role in (USER, ITEM, "group"), is_text=holds_lists)

    def want_fields(group: str, fields: dict[str, FieldColumn]) -> None:
        for name, field in fields.items():
            want(field.column, f"{group}.{name}.column", field.kind == "categorical", is_optional=True)

    if table == "behaviours":
        assert config.behaviours is not None
        want_events(config.behaviours.columns, "behaviours.columns")
    elif table == "items":
        assert config.items is not None
        want(config.items.column, "items.column", is_name=True)
        want(config.items.title, "items.title", is_name=True, is_optional=True)
        want_fields("item_fields", config.item_fields)
    else:
        want_events(config.columns, "columns")
        want_fields("item_fields", {} if config.items else config.item_fields)
        want_fields("user_fields", config.user_fields)
        want_fields("context_fields", config.context_fields)
    return needed
