"""How a log of your own maps to canonical columns: the names that a YAML file gives to tables, columns and fields."""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator

from clickflow.config import FilePath, StrictConfig
from clickflow.data.schema import Kind
from clickflow.data.sources.dialect import TableDialect


def _as_paths(value: object) -> tuple[str, ...]:
    """One path or several as texts, which pydantic takes in YAML and in the JSON that a sweep's worker reads."""
    values = value if isinstance(value, list | tuple) else (value,)
    if values and all(isinstance(one, str | Path) for one in values):
        return tuple(str(one) for one in values)
    raise ValueError("a path or a list of paths")


Paths = Annotated[tuple[FilePath, ...], BeforeValidator(_as_paths)]
"""A file, a glob, a folder or a list of these."""


class EventColumns(StrictConfig):
    """Columns of a table that say who did something, with what, and when."""

    user: str
    """Column of the user's id."""
    item: str
    """Column of the item's id."""
    timestamp: str
    """Column of the moment."""


class LogColumns(EventColumns):
    """Columns of the log, with the outcome."""

    label: str | None = None
    """Column with 0 = shown and not clicked, 1 = clicked; null where every row is a click."""
    rating: str | None = None
    """Column of a number that the ``rating`` protocol turns into a label."""
    split: str | None = None
    """Column that names each row's split: train, validation or test. null: the protocol splits the log."""
    group: str | None = None
    """Column of the list that a row was ranked in, such as a request or a session page; null where the log names none."""


class FieldColumn(StrictConfig):
    """One field of an item, a user or an impression."""

    column: str
    """Its column in the file."""
    kind: Kind = "categorical"
    """Whether its values are names or quantities."""


class BehaviourTableConfig(TableDialect):
    """Behaviours in a table of their own."""

    path: Paths
    """A file, a glob, a folder or a list of files."""
    columns: EventColumns


class ItemTableConfig(TableDialect):
    """A table with one row per item that holds the item fields."""

    path: Paths
    """A file, a glob, a folder or a list of files."""
    column: str
    """Its item-id column."""
    title: str | None = None
    """Its column with what people call an item; shown beside attention weights, unseen by models."""
