"""A click log of your own: Parquet, CSV or NDJSON files, mapped to canonical columns by YAML alone (docs/bring-your-data.md).

The mapping names what the pipeline needs and leaves the rest of the file unread: a wide Parquet log costs only the columns in use.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal

from clickflow.config import Contradictions
from clickflow.data.schema import ITEM, LABEL, RATING, RESERVED_NAMES, TITLE, USER, FieldSpec, Role, TimestampUnit
from clickflow.data.sources import columns, formats
from clickflow.data.sources.columns import Selection
from clickflow.data.sources.dialect import Dialect, dialect_problems
from clickflow.data.sources.formats import Table
from clickflow.data.sources.log_columns import BehaviourTableConfig, EventColumns, FieldColumn, ItemTableConfig, LogColumns, Paths
from clickflow.data.sources.parts import Needed
from clickflow.data.sources.raw import RawLog
from clickflow.data.sources.source import SourceConfig
from clickflow.data.sources.timestamps import Timestamps, timestamps
from clickflow.errors import DataError


class LogConfig(SourceConfig, Dialect):
    """Any Parquet, CSV or NDJSON log."""

    source: Literal["log"] = "log"
    path: Paths
    """A file, a glob, a folder or a list of files; a relative path starts at the working directory."""
    columns: LogColumns
    timestamp_unit: TimestampUnit = "seconds"
    """What integer timestamps mean; ``order`` is a position, not a clock. Dates and date-times need no unit."""
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
        yield from dialect_problems(self)
        yield from _name_problems(self)
        yield from _column_problems(self)
        yield from _target_leaks(self)
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
        scanned = self._scanned(tables)
        where = {name: ", ".join(formats.labels(group)) for name, group in tables.items()}
        selections = {name: Selection(found.frame, where.get(name, where["interactions"]), name) for name, found in scanned.items()}
        events = selections["interactions"]
        unit = self._add_events(selections)
        if self.columns.label is not None:
            events.add(columns.label, LABEL, self.columns.label)
        if self.columns.rating is not None:
            events.add(partial(columns.number, decimal=self.decimal), RATING, self.columns.rating)
        _add_fields(events, {**self.user_fields, **self.context_fields}, self.decimal)
        self._add_items(selections)
        for name in (USER, ITEM):
            columns.make_alike(selections.values(), name)
        frames = {name: selection.select(names) for name, selection in selections.items()}
        return RawLog(
            interactions=frames["interactions"],
            fields=tuple(self._fields()),
            items=frames.get("items"),
            behaviours=frames.get("behaviours"),
            timestamp_unit=unit,
            columns=names,
            origins=where,
            refused={name: scanned[name].refused for name in tables if name in scanned},
        )

    def _expanded(self) -> dict[str, tuple[Path, ...]]:
        tables = {"interactions": formats.expand(self.path, "data.path", self.format)}
        if self.behaviours is not None:
            tables["behaviours"] = formats.expand(self.behaviours.path, "data.behaviours.path", self.behaviours.format)
        if self.items is not None:
            tables["items"] = formats.expand(self.items.path, "data.items.path", self.items.format)
        return tables

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
        """The item table, or the item fields in each row of the log, which the check reduces to one row per item."""
        if not self.item_fields:
            return
        table = selections["items"]
        table.add(columns.identifier, ITEM, self.columns.item if self.items is None else self.items.column)
        if self.items is not None and self.items.title is not None:
            table.add(columns.category, TITLE, self.items.title)
        _add_fields(table, self.item_fields, self._dialect("items").decimal)

    def _dialect(self, table: str) -> Dialect:
        own = {"behaviours": self.behaviours, "items": self.items}.get(table)
        return self if own is None else own.resolved(self)

    def _scanned(self, tables: dict[str, list[Path]]) -> dict[str, Table]:
        """The tables with the columns they need; item fields without an item table are read from the log."""
        scanned = {table: formats.scan(files, _needed(table, self), self._dialect(table)) for table, files in tables.items()}
        return {"items": scanned["interactions"], **scanned} if self.item_fields else scanned

    def _add_events(self, selections: dict[str, Selection]) -> TimestampUnit:
        """User, item and timestamp of log and behaviour table; returns the unit that their timestamps will have.

        Raises:
            DataError: the tables' timestamps cannot be compared.
        """
        mappings: dict[str, EventColumns] = {"interactions": self.columns}
        if self.behaviours is not None:
            mappings["behaviours"] = self.behaviours.columns
        found: dict[str, Timestamps] = {}
        for name, mapping in mappings.items():
            table = selections[name]
            table.add(columns.identifier, USER, mapping.user)
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

    def want(column: str | None, key: str, is_name: bool, is_optional: bool = False) -> None:
        if column is not None:
            first = needed.get(column, Needed(key, False, True))
            needed[column] = Needed(first.key, first.is_name or is_name, first.is_optional and is_optional)

    def want_events(mapping: EventColumns, key: str) -> None:
        for role, column in mapping:
            want(column, f"{key}.{role}", is_name=role in (USER, ITEM))

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
