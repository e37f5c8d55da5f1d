"""How a log of your own maps to canonical columns: the names that a YAML file gives to tables, columns and fields."""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator

from clickflow.config import Contradictions, FilePath, StrictConfig
from clickflow.data.schema import Kind
from clickflow.data.sources.dialect import TableDialect
from clickflow.data.sources.where import Values, Where, listed


def _as_paths(value: object) -> tuple[str, ...]:
    """One path or several as texts, which pydantic takes in YAML and in the JSON that a sweep's worker reads."""
    values = value if isinstance(value, list | tuple) else (value,)
    if values and all(isinstance(one, str | Path) for one in values):
        return tuple(str(one) for one in values)
    raise ValueError("a path or a list of paths")


def _as_names(value: object) -> tuple[str, ...]:
    """One column or several."""
    values = value if isinstance(value, list | tuple) else (value,)
    if values and all(isinstance(one, str) and one for one in values) and len(set(values)) == len(values):
        return tuple(values)
    raise ValueError("a column or a list of different columns")


def _as_section(value: object) -> object:
    """``label: clicked`` is ``label: {column: clicked}``."""
    return {"column": value} if isinstance(value, str) else value


Paths = Annotated[tuple[FilePath, ...], BeforeValidator(_as_paths)]
"""A file, a glob, a folder or a list of these."""
ItemColumns = Annotated[tuple[str, ...], BeforeValidator(_as_names)]
"""The column of the item's id, or a list of columns that are joined into one id."""


class EventColumns(StrictConfig):
    """Columns of a table that say who did something, with what, and when."""

    user: str
    """Column of the user's id."""
    item: ItemColumns
    """Column of the item's id, or a list of columns that are joined into one id."""
    timestamp: str | None
    """Column of the moment; null, with timestamp_unit: order: the position of the row in the files."""
    kind: str | None = None
    """Column of what was done (view, buy), kept beside each behaviour; null where the table does not say."""


class LabelColumn(StrictConfig):
    """The outcome of each row, in a column of its own or as one of the events of a column."""

    column: str
    """Column with 0 = shown and not clicked, 1 = clicked, unless ``positive`` says otherwise."""
    positive: Values | None = None
    """Values of a click; rows with neither these nor ``negative`` are no impressions. null: the column holds 0 and 1."""
    negative: Values | None = None
    """Values of what was shown and not clicked; null: all that ``where`` leaves, except ``positive``."""

    def _contradictions(self) -> Contradictions:
        if self.positive is None and self.negative is not None:
            yield "negative", f"= {listed(self.negative)}: without positive; name the values of a click too"
        if both := [value for value in self.positive or () if value in (self.negative or ())]:
            yield "negative", f"= {listed(both)}: is positive too; a value is one or the other"


class LogColumns(EventColumns):
    """Columns of the log, with the outcome."""

    label: Annotated[LabelColumn | None, BeforeValidator(_as_section)] = None
    """Column with 0 = shown and not clicked, 1 = clicked, or {column, positive, negative}; null where every row is a click."""
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
    """Behaviours in a table of their own, or among the rows of the log's files."""

    path: Paths | None = None
    """A file, a glob, a folder or a list of files; null: the log's own files."""
    where: Where = {}
    """Rows that are behaviours: column -> value or list of values; all conditions must hold."""
    columns: EventColumns | None = None
    """Columns of user, item, timestamp and kind; null: those of the log."""
    item_fields: dict[str, str] | None = None
    """Item fields that the table knows too: name -> column. null: none, or those of the log in the log's own files."""


class ItemTableConfig(TableDialect):
    """A table with one row per item that holds the item fields."""

    path: Paths
    """A file, a glob, a folder or a list of files."""
    where: Where = {}
    """Rows that count: column -> value or list of values; all conditions must hold."""
    column: ItemColumns
    """Its item-id column, or a list of columns that are joined into one id."""
    title: str | None = None
    """Its column with what people call an item; shown beside attention weights, unseen by models."""


class UserTableConfig(TableDialect):
    """A table with one row per user that holds the user fields."""

    path: Paths
    """A file, a glob, a folder or a list of files."""
    where: Where = {}
    """Rows that count: column -> value or list of values; all conditions must hold."""
    column: str
    """Its user-id column."""
