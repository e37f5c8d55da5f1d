"""Mapping of a log of your own to canonical columns: the names that a YAML file gives to tables, columns and fields."""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer, SerializerFunctionWrapHandler, model_serializer

from clickflow.config import Contradictions, FilePath, StrictConfig
from clickflow.data.schema import Kind
from clickflow.data.sources.conditions import Values, Where, listed
from clickflow.data.sources.dialect import TableDialect


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


def _as_typed(columns: tuple[str, ...] | None) -> str | list[str] | None:
    """One column or a list of several, as in YAML."""
    return list(columns) if columns and len(columns) > 1 else columns[0] if columns else None


def _as_section(value: object) -> object:
    """``label: clicked`` is ``label: {column: clicked}``."""
    return {"column": value} if isinstance(value, str) else value


Paths = Annotated[tuple[FilePath, ...], BeforeValidator(_as_paths)]
"""A file, a glob, a folder or a list of these."""
ItemColumns = Annotated[tuple[str, ...], BeforeValidator(_as_names), PlainSerializer(_as_typed)]
"""The column of the item's id, or a list of columns that are joined into one id."""


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

    @model_serializer(mode="wrap")
    def _as_typed(self, serialize: SerializerFunctionWrapHandler) -> dict[str, object] | str:
        """The column alone where nothing else is said, as in YAML and in the parameters of a run."""
        return self.column if self.positive is None else serialize(self)


class _Columns(StrictConfig):
    """Columns of a table that say who did something, when, and of what kind it was."""

    user: str
    """Column of the user's id."""
    timestamp: str | None
    """Column of the moment; null, with timestamp_unit: order: the position of the row in the files."""
    kind: str | None = None
    """Column of what was done (view, buy), kept beside each behaviour; null where the table does not say."""

    @property
    def named(self) -> list[tuple[str, str]]:
        """Keys, each with the column that it names; a key may name several."""
        pairs = []
        for key, value in self:
            columns = value if isinstance(value, tuple) else (value.column,) if isinstance(value, LabelColumn) else (value,)
            pairs += [(key, column) for column in columns if isinstance(column, str)]
        return pairs


class EventColumns(_Columns):
    """The same, with what they did something."""

    item: ItemColumns
    """Column of the item's id, or a list of columns that are joined into one id."""


class CandidateColumns(StrictConfig):
    """Columns of what was shown together: each row of the file is one list of candidates."""

    column: str
    """Column of the items: lists, or texts with a ``separator``."""
    separator: Annotated[str, Field(min_length=1)] = " "
    """Between the candidates of a text."""
    label_separator: Annotated[str, Field(min_length=1)] | None = None
    """Before the label that ends each candidate, as in ``N1-1 N2-0``; either this or ``clicked``."""
    clicked: str | None = None
    """Column of the items that were clicked, written as those of ``column``."""


class LogColumns(_Columns):
    """Columns of the log, with the outcome."""

    item: ItemColumns | None = None
    """Column of the item's id, or a list of columns that are joined into one id; null where ``candidates`` names the items."""
    label: Annotated[LabelColumn | None, BeforeValidator(_as_section)] = None
    """Column with 0 = shown and not clicked, 1 = clicked, or {column, positive, negative}; null where every row is a click."""
    rating: str | None = None
    """Column of a number that the ``rating`` protocol turns into a label."""
    split: str | None = None
    """Column that names each row's split: train, validation or test. null: the protocol splits the log."""
    group: str | None = None
    """Column of the list that a row was ranked in, such as a request or a session page; null where the log names none."""
    candidates: CandidateColumns | None = None
    """Column and form of a list of all items that were shown together, with their labels, where one row holds them."""
    history: str | None = None
    """Column of the row's own history, oldest item first: lists, or texts with a ``history_separator``; null: from the behaviours."""

    @property
    def named(self) -> list[tuple[str, str]]:
        """See :attr:`_Columns.named`."""
        candidates = {} if self.candidates is None else {"column": self.candidates.column, "clicked": self.candidates.clicked}
        return super().named + [(f"candidates.{key}", column) for key, column in candidates.items() if column is not None]

    @property
    def names_lists(self) -> bool:
        """Whether rows are in lists."""
        return self.group is not None or self.candidates is not None


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
