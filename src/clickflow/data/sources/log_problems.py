"""Choices of a log's config that contradict each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clickflow.config import Contradictions
from clickflow.data.schema import RESERVED_NAMES
from clickflow.data.sources.dialect import dialect_problems
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
    if config.items is not None and not config.item_fields:
        yield "items", "= an item table without item_fields: nothing would be read from it; name item_fields or remove it"


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
    tables = {"columns": config.columns.by_key} | ({"behaviours.columns": config.behaviours.columns.by_key} if config.behaviours else {})
    for key, mapping in tables.items():
        seen: dict[str, str] = {}
        for role, column in mapping.items():
            if column in seen:
                yield f"{key}.{role}", f"= {column}: is the {seen[column]} column too; name another column"
            seen.setdefault(column, role)
    if config.columns.label is not None and config.columns.rating is not None:
        yield (
            "columns.rating",
            f"= {config.columns.rating}: there is a label column already; a log has a label or a rating, remove one of them",
        )


def _target_leaks(config: LogConfig) -> Contradictions:
    """The outcome as an input of the model. An item table is another file, whose columns may be called alike."""
    of_outcomes = ("label", "rating", "candidates.column", "candidates.clicked")
    outcomes = {column: key for key, column in config.columns.by_key.items() if key in of_outcomes}
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
