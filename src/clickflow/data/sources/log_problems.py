"""Choices of a log's config that contradict each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clickflow.config import Contradictions, suggest
from clickflow.data.schema import RESERVED_NAMES
from clickflow.data.sources.dialect import TableDialect, dialect_problems
from clickflow.data.sources.row_list_problems import row_list_problems

if TYPE_CHECKING:
    from clickflow.data.sources.log import LogConfig


def log_problems(config: LogConfig) -> Contradictions:
    """All of them: key, and message."""
    yield from dialect_problems(config)
    yield from _name_problems(config)
    yield from _column_problems(config)
    yield from _target_leaks(config)
    yield from _split_problems(config)
    yield from row_list_problems(config)
    if config.timestamp_format is not None and config.timestamp_unit == "order":
        yield "timestamp_format", f"= {config.timestamp_format}: a clock, but timestamp_unit is order; remove one of them"
    yield from _table_problems(config)
    yield from _behaviour_problems(config)
    yield from _position_problems(config)


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
    """One column cannot be two of user, item, timestamp and outcome; the kind of a behaviour may be its outcome."""
    tables = {"columns": config.columns.named}
    if config.behaviours is not None and config.behaviours.columns is not None:
        tables["behaviours.columns"] = config.behaviours.columns.named
    for key, mapping in tables.items():
        seen: dict[str, str] = {}
        for role, column in mapping:
            if column in seen and {role, seen[column]} != {"kind", "label"}:
                yield f"{key}.{role}", f"= {column}: is the {seen[column]} column too; name another column"
            seen.setdefault(column, role)
    if config.columns.label is not None and config.columns.rating is not None:
        yield (
            "columns.rating",
            f"= {config.columns.rating}: there is a label column already; a log has a label or a rating, remove one of them",
        )


def _target_leaks(config: LogConfig) -> Contradictions:
    """The outcome as an input of the model. Another table is another file, whose columns may be called alike."""
    of_outcomes = ("label", "rating", "candidates.column", "candidates.clicked")
    outcomes = {column: key for key, column in config.columns.named if key in of_outcomes}
    groups = {"context_fields": config.context_fields}
    if config.users is None:
        groups["user_fields"] = config.user_fields
    if config.items is None:
        groups["item_fields"] = config.item_fields
    columns = {f"{group}.{name}.column": field.column for group, fields in groups.items() for name, field in fields.items()}
    if config.behaviours is not None and config.behaviours_share_files:
        columns |= {f"behaviours.item_fields.{name}": column for name, column in (config.behaviours.item_fields or {}).items()}
    for key, column in columns.items():
        if column in outcomes:
            outcome = f"columns.{outcomes[column]}"
            yield key, f"= {column}: is {outcome} too, so the model would be given the answer; remove the field"


def _table_problems(config: LogConfig) -> Contradictions:
    """Tables that nothing would be read from."""
    if config.items is not None and not config.item_fields:
        yield "items", "= an item table without item_fields: nothing would be read from it; name item_fields or remove it"
    if config.users is not None and not config.user_fields:
        yield "users", "= a user table without user_fields: nothing would be read from it; name user_fields or remove it"


def _behaviour_problems(config: LogConfig) -> Contradictions:
    """Behaviours among the log's rows are read as the log is; their item fields are fields of the log."""
    behaviours = config.behaviours
    if behaviours is None:
        return
    if behaviours.path is None:
        for name in TableDialect.model_fields:
            value = getattr(behaviours, name)
            if value != TableDialect.model_fields[name].default:
                shown = list(value) if isinstance(value, tuple) else value
                yield (
                    f"behaviours.{name}",
                    f"= {shown}: the behaviours are in the log's own files; set {name} of the log, or name behaviours.path",
                )
    for name in behaviours.item_fields or {}:
        if name not in config.item_fields:
            allowed = suggest(name, list(config.item_fields)) if config.item_fields else "item_fields is empty"
            yield f"behaviours.item_fields.{name}", f"is no field of item_fields; {allowed}; declare it there or remove it"
    if config.columns.item is None and behaviours.columns is None:
        yield "behaviours.columns", "= null: those of the log, which has candidates and no item column; name the columns of the behaviours"
    if config.columns.kind is not None and behaviours.columns is not None and behaviours.columns.kind is None:
        yield (
            "columns.kind",
            f"= {config.columns.kind}: the behaviours have columns of their own; name behaviours.columns.kind, or remove it",
        )


def _position_problems(config: LogConfig) -> Contradictions:
    """Rows without a time, whose order is their position in the files."""
    own = None if config.behaviours is None else config.behaviours.columns
    if config.timestamp_unit != "order":
        for key, mapping in (("columns", config.columns), ("behaviours.columns", own)):
            if mapping is not None and mapping.timestamp is None:
                yield (
                    f"{key}.timestamp",
                    f"= null: the position of a row is an order and no clock, but timestamp_unit is {config.timestamp_unit}; "
                    "set timestamp_unit: order, or name the column",
                )
        return
    if config.behaviours is None:
        return
    log, past = config.columns.timestamp, config.behaviour_columns.timestamp
    if (log is None) != (past is None):
        yield (
            "behaviours.columns.timestamp",
            f"= {past or 'null'}: columns.timestamp is {log or 'null'}; name a column for both, or for neither",
        )
    elif config.columns.timestamp is None and config.behaviours.path is not None:
        yield (
            "behaviours.path",
            f"= {', '.join(map(str, config.behaviours.path))}: positions in different files cannot be compared; name timestamp columns, "
            "or leave out path if the behaviours are rows of the log",
        )


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
