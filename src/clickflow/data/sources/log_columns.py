"""How a log of your own maps to canonical columns: the names that a YAML file gives to tables, columns and fields."""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

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


class _Columns(StrictConfig):
    """Columns of a table that say who did something, and when."""

    user: str
    """Column of the user's id."""
    timestamp: str
    """Column of the moment."""

    @property
    def by_key(self) -> dict[str, str]:
        """The columns by the key that names them, without those that are left out."""
        return {key: column for key, column in self if isinstance(column, str)}


class EventColumns(_Columns):
    """The same, with what they did something."""

    item: str
    """Column of the item's id."""


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

    item: str | None = None
    """Column of the item's id; null where ``candidates`` names the items."""
    label: str | None = None
    """Column with 0 = shown and not clicked, 1 = clicked; null where every row is a click."""
    rating: str | None = None
    """Column of a number that the ``rating`` protocol turns into a label."""
    split: str | None = None
    """Column that names each row's split: train, validation or test. null: the protocol splits the log."""
    group: str | None = None
    """Column of the list that a row was ranked in, such as a request or a session page; null where the log names none."""
    candidates: CandidateColumns | None = None
    """Where one row lists all items that were shown together, with their labels: its column, and how it is written."""
    history: str | None = None
    """Column of the row's own history, oldest item first: lists, or texts with a ``history_separator``; null: from the behaviours."""

    @property
    def by_key(self) -> dict[str, str]:
        """See :attr:`_Columns.by_key`."""
        candidates = {} if self.candidates is None else {"column": self.candidates.column, "clicked": self.candidates.clicked}
        return super().by_key | {f"candidates.{key}": column for key, column in candidates.items() if column is not None}

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
