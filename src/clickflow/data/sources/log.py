"""A click log of your own: Parquet, CSV or NDJSON files, mapped to canonical columns by YAML alone (docs/bring-your-data.md).

The mapping names what the pipeline needs and leaves the rest of the file unread: a wide Parquet log costs only the columns in use.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import polars as pl
from pydantic import Field

from clickflow.config import Contradictions
from clickflow.data.schema import ITEM, LABEL, LIST, RATING, RESERVED_NAMES, SPLIT, TITLE, USER, FieldSpec, Role, TimestampUnit
from clickflow.data.sources import columns, formats
from clickflow.data.sources.columns import Selection
from clickflow.data.sources.log_columns import BehaviourTableConfig, EventColumns, FieldColumn, ItemTableConfig, LogColumns, Paths
from clickflow.data.sources.raw import RawLog
from clickflow.data.sources.source import SourceConfig
from clickflow.data.sources.timestamps import timestamps
from clickflow.errors import DataError


class LogConfig(SourceConfig):
    """Any Parquet, CSV or NDJSON log."""

    source: Literal["log"] = "log"
    path: Paths
    """A file, a glob, a folder or a list of files; a relative path starts at the working directory."""
    validation_path: Paths | None = None
    """Files of the validation split, where the log comes split; ``path`` then holds the train split."""
    test_path: Paths | None = None
    """Files of the test split, where the log comes split."""
    columns: LogColumns
    separator: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """Between the columns of a CSV file."""
    timestamp_unit: TimestampUnit = "seconds"
    """What integer timestamps mean; ``order`` is a position, not a clock. Dates and date-times need no unit."""
    timestamp_format: str | None = None
    """strptime format of text timestamps that are not ISO 8601."""
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
        yield from _name_problems(self)
        yield from _column_problems(self)
        yield from _target_leaks(self)
        yield from _split_problems(self)
        if self.timestamp_format is not None and self.timestamp_unit == "order":
            yield "timestamp_format", f"= {self.timestamp_format}: a clock, but timestamp_unit is order; remove one of them"
        if self.items is not None and not self.item_fields:
            yield "items", "= an item table without item_fields: nothing would be read from it; name item_fields or remove it"

    def files(self, downloads: Path) -> tuple[Path, ...]:
        """The log's files, then the behaviour table's, then the item table's; see :meth:`SourceConfig.files`."""
        return tuple(file for group in self._expanded().values() for file in group)

    def read(self, files: tuple[Path, ...]) -> RawLog:
        """See :meth:`SourceConfig.read`."""
        tables = {name: [file for file in group if file in files] for name, group in self._expanded().items()}
        names: dict[str, str] = {}
        selections = self._selections(tables)
        events = selections["interactions"]
        unit = self._add_events(events, self.columns)
        if self.columns.label is not None:
            events.add(columns.label, LABEL, self.columns.label)
        if self.columns.rating is not None:
            events.add(columns.number, RATING, self.columns.rating)
        if self.columns.split is not None:
            events.add(columns.split, SPLIT, self.columns.split)
        if self.columns.group is not None:
            events.add(columns.list_identifier, LIST, self.columns.group)
        _add_fields(events, self._fields_of_the_log())
        return RawLog(
            interactions=self._with_splits(events.select(names)),
            fields=tuple(self._fields()),
            items=self._items(selections, names),
            behaviours=self._behaviours(selections, unit, names),
            timestamp_unit=unit,
            columns=names,
            origins={name: ", ".join(formats.labels(group)) for name, group in tables.items()},
        )

    def _expanded(self) -> dict[str, tuple[Path, ...]]:
        tables = {"interactions": tuple(file for files in self._expanded_splits() for file in files)}
        if self.behaviours is not None:
            tables["behaviours"] = formats.expand(self.behaviours.path, "data.behaviours.path")
        if self.items is not None:
            tables["items"] = formats.expand(self.items.path, "data.items.path")
        return tables

    def _expanded_splits(self) -> list[tuple[Path, ...]]:
        """The files of each split, or of the whole log."""
        paths = {"data.path": self.path, "data.validation_path": self.validation_path, "data.test_path": self.test_path}
        return [formats.expand(files, key) for key, files in paths.items() if files is not None]

    def _with_splits(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """Add the split that a row's file stands for, if each split has files of its own."""
        groups = self._expanded_splits()
        if len(groups) == 1:
            return frame
        names = formats.labels([file for files in groups for file in files])
        codes = [code for code, files in enumerate(groups) for _ in files]
        split = pl.col(columns.FILE).cast(pl.String).replace_strict(names, codes, return_dtype=pl.UInt8)
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

    def _items(self, selections: dict[str, Selection], names: dict[str, str]) -> pl.LazyFrame | None:
        if self.items is None:
            return None
        table = selections["items"]
        table.add(columns.identifier, ITEM, self.items.column)
        if self.items.title is not None:
            table.add(columns.category, TITLE, self.items.title)
        _add_fields(table, self.item_fields)
        return table.select(names)

    def _behaviours(self, selections: dict[str, Selection], unit: TimestampUnit, names: dict[str, str]) -> pl.LazyFrame | None:
        if self.behaviours is None:
            return None
        table = selections["behaviours"]
        own_unit = self._add_events(table, self.behaviours.columns)
        if own_unit != unit:
            raise DataError(
                f"{table.where}, column '{self.behaviours.columns.timestamp}' = {own_unit}: the log's timestamps are {unit}; "
                "log and behaviour table must hold both integers of one unit or both date-times."
            )
        return table.select(names)

    def _selections(self, tables: dict[str, list[Path]]) -> dict[str, Selection]:
        """The tables with the columns they need; an id or category that is a text in one of them is a text in all."""
        frames = {table: formats.scan(files, _needed(table, self), self.separator) for table, files in tables.items()}
        columns_of = {table: _texts_or_integers(table, self) for table in tables}
        texts: set[str] = set()
        for table, by_role in columns_of.items():
            found = formats.not_as_written(tables[table], frames[table], by_role.values(), self.separator)
            texts |= {role for role, column in by_role.items() if column in found}
        for table, by_role in columns_of.items():
            if own := {column for role, column in by_role.items() if role in texts}:
                frames[table] = formats.scan(tables[table], _needed(table, self), self.separator, own)
        return {table: Selection(frames[table], ", ".join(formats.labels(files)), table) for table, files in tables.items()}

    def _add_events(self, table: Selection, mapping: EventColumns) -> TimestampUnit:
        """User, item and timestamp; returns the unit of the timestamps as they will be."""
        table.add(columns.identifier, USER, mapping.user)
        table.add(columns.identifier, ITEM, mapping.item)
        try:
            found = timestamps(table.frame, mapping.timestamp, self.timestamp_unit, self.timestamp_format, table.where)
        except DataError as error:
            table.problems.append(str(error))
            return self.timestamp_unit
        table.columns.append(found.column)
        return found.unit


def _add_fields(table: Selection, fields: dict[str, FieldColumn]) -> None:
    for name, field in fields.items():
        table.add(columns.number if field.kind == "numeric" else columns.category, name, field.column)


def _needed(table: str, config: LogConfig) -> dict[str, str]:
    """Column of a table's file -> the key of the config that names it."""
    if table == "behaviours":
        assert config.behaviours is not None
        return {column: f"behaviours.columns.{key}" for key, column in config.behaviours.columns}
    item_fields = {field.column: f"item_fields.{name}.column" for name, field in config.item_fields.items()}
    if table == "items":
        assert config.items is not None
        title = {} if config.items.title is None else {config.items.title: "items.title"}
        return {config.items.column: "items.column"} | title | item_fields
    needed = {column: f"columns.{key}" for key, column in config.columns if column is not None}
    for key, fields in (("user_fields", config.user_fields), ("context_fields", config.context_fields)):
        needed |= {field.column: f"{key}.{name}.column" for name, field in fields.items()}
    return needed if config.items else needed | item_fields


def _texts_or_integers(table: str, config: LogConfig) -> dict[str, str]:
    """Id or categorical field -> the column of a table's file that holds it."""
    if table == "behaviours":
        assert config.behaviours is not None
        return {USER: config.behaviours.columns.user, ITEM: config.behaviours.columns.item}
    if table == "items":
        assert config.items is not None
        ids = {ITEM: config.items.column} | ({} if config.items.title is None else {TITLE: config.items.title})
        fields = config.item_fields
    else:
        ids = {USER: config.columns.user, ITEM: config.columns.item}
        ids |= {} if config.columns.group is None else {LIST: config.columns.group}
        fields = config._fields_of_the_log()
    return ids | {name: field.column for name, field in fields.items() if field.kind == "categorical"}


def _name_problems(config: LogConfig) -> Contradictions:
    seen: dict[str, str] = {}
    groups = {"item_fields": config.item_fields, "user_fields": config.user_fields, "context_fields": config.context_fields}
    for key, fields in groups.items():
        for name in fields:
            if name in RESERVED_NAMES:
                yield f"{key}.{name}", "is a name the pipeline uses itself; give the field another one"
            elif not name.isidentifier():
                yield f"{key}.{name}", "is not a valid field name: letters, digits and _ only, no digit first; rename the field"
            elif name in seen:
                yield f"{key}.{name}", f"is named in {seen[name]} too; every field needs a name of its own"
            seen[name] = key


def _column_problems(config: LogConfig) -> Contradictions:
    """One column cannot be two of user, item, timestamp and outcome."""
    tables = {"columns": config.columns} | ({"behaviours.columns": config.behaviours.columns} if config.behaviours else {})
    for key, mapping in tables.items():
        seen: dict[str, str] = {}
        for role, column in mapping:
            if column in seen:
                yield f"{key}.{role}", f"= {column}: is the {seen[column]} column too; name another column"
            elif column is not None:
                seen[column] = role
    if config.columns.label is not None and config.columns.rating is not None:
        yield (
            "columns.rating",
            f"= {config.columns.rating}: there is a label column already; a log has a label or a rating, remove one of them",
        )


def _target_leaks(config: LogConfig) -> Contradictions:
    """The outcome as an input of the model. An item table is another file, whose columns may be called alike."""
    outcomes = {column: key for key, column in (("label", config.columns.label), ("rating", config.columns.rating)) if column is not None}
    groups = {"user_fields": config.user_fields, "context_fields": config.context_fields}
    if config.items is None:
        groups["item_fields"] = config.item_fields
    for group, fields in groups.items():
        for name, field in fields.items():
            if field.column in outcomes:
                key = f"columns.{outcomes[field.column]}"
                yield f"{group}.{name}.column", f"= {field.column}: is {key} too, so the model would be given the answer; remove the field"


def _split_problems(config: LogConfig) -> Contradictions:
    """Files per split come in threes, and say all that a column could."""
    paths = {"validation_path": config.validation_path, "test_path": config.test_path}
    for name, missing in (("validation_path", "test_path"), ("test_path", "validation_path")):
        if paths[name] is not None and paths[missing] is None:
            yield (
                name,
                f"= {', '.join(map(str, paths[name] or ()))} without {missing}: a log that comes split has three parts; set {missing} too",
            )
    if config.columns.split is not None and any(paths.values()):
        yield "columns.split", f"= {config.columns.split}: each split has files of its own already; remove one of them"
