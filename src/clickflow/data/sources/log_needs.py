"""Columns that a log's config names, and its demands on each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from clickflow.data.sources.log_columns import EventColumns, FieldColumn, LogColumns
from clickflow.data.sources.parts import Needed

if TYPE_CHECKING:
    from clickflow.data.sources.log import LogConfig

NAMES = ("user", "item", "kind", "group")
"""Columns of ids and categories."""
LISTS = ("history", "candidates.column", "candidates.clicked")
"""Columns of several items per row."""


def needed(table: str, config: LogConfig) -> dict[str, Needed]:
    """Demands of the config on each column of a table's files."""
    needs = _Needs()
    if table == "behaviours":
        needs.of_behaviours(config)
    elif table == "items":
        assert config.items is not None
        needs.want(config.items.column, "items.column", is_name=True)
        needs.want(config.items.title, "items.title", is_name=True, is_optional=True)
        needs.want_conditions(config.items.where, "items.where")
        needs.want_fields("item_fields", config.item_fields)
    elif table == "users":
        assert config.users is not None
        needs.want(config.users.column, "users.column", is_name=True)
        needs.want_conditions(config.users.where, "users.where")
        needs.want_fields("user_fields", config.user_fields)
    else:
        needs.of_log(config)
        if config.behaviours_share_files:
            needs.of_behaviours(config)
    return needs.columns


class _Needs:
    def __init__(self) -> None:
        self.columns: dict[str, Needed] = {}

    def of_log(self, config: LogConfig) -> None:
        self.want_events(config.columns, "columns")
        self.want_conditions(config.where, "where")
        self.want_fields("item_fields", {} if config.items else config.item_fields)
        self.want_fields("user_fields", {} if config.users else config.user_fields)
        self.want_fields("context_fields", config.context_fields)

    def of_behaviours(self, config: LogConfig) -> None:
        assert config.behaviours is not None
        own = config.behaviours.columns
        self.want_events(config.behaviour_columns, "columns" if own is None else "behaviours.columns", EventColumns.model_fields)
        self.want_conditions(config.behaviours.where, "behaviours.where")
        for name, field in config.behaviour_item_fields.items():
            self.want(field.column, f"behaviours.item_fields.{name}", field.kind == "categorical", is_optional=True)

    def want(self, columns: str | Iterable[str] | None, key: str, is_name: bool, is_optional: bool = False, is_text: bool = False) -> None:
        for column in [columns] if isinstance(columns, str) else columns or ():
            first = self.columns.get(column, Needed(key, False, True))
            self.columns[column] = Needed(first.key, first.is_name or is_name, first.is_optional and is_optional, first.is_text or is_text)

    def want_events(self, mapping: EventColumns | LogColumns, key: str, roles: Collection[str] | None = None) -> None:
        for role, column in mapping.named:
            if roles is None or role in roles:
                is_name = role in (*NAMES, *LISTS) or (role == "label" and _has_events(mapping))
                self.want(column, f"{key}.{role}", is_name, is_text=role in LISTS)

    def want_conditions(self, where: Mapping[str, object], key: str) -> None:
        for column in where:
            self.want(column, f"{key}.{column}", is_name=True)

    def want_fields(self, group: str, fields: Mapping[str, FieldColumn]) -> None:
        for name, field in fields.items():
            self.want(field.column, f"{group}.{name}.column", field.kind == "categorical", is_optional=True)


def _has_events(mapping: EventColumns | LogColumns) -> bool:
    """Whether the label is one of the events of a column."""
    return isinstance(mapping, LogColumns) and mapping.label is not None and mapping.label.positive is not None
