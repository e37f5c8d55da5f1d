"""What a log consists of: its columns and fields, and what a model has to know of them.

No Polars here: models and the served model read a schema too.
"""

from typing import Literal, Self

from pydantic import model_validator

from clickflow.config import Contradictions, StrictConfig

# The canonical columns every source delivers, whatever the user's files call them.
USER = "user"
ITEM = "item"
TIMESTAMP = "timestamp"
LABEL = "label"
RATING = "rating"
TRUE_PROBABILITY = "true_probability"
HISTORY = "history"
TITLE = "item title"
"""What people call an item; no field, so its name is one that no field can have."""
RESERVED_NAMES = frozenset(
    {USER, ITEM, TIMESTAMP, LABEL, RATING, TRUE_PROBABILITY, HISTORY, "group", "history_start", "history_end", "row", "preds"}
)

Role = Literal["item", "user", "context"]
Kind = Literal["categorical", "numeric"]
TimestampUnit = Literal["seconds", "milliseconds", "microseconds", "order"]


class FieldSpec(StrictConfig):
    """One field of the log besides the item id itself.

    ``item`` fields belong to the item, so target and history share them (and their embedding table); ``user`` and
    ``context`` fields belong to the impression.
    """

    name: str
    role: Role
    kind: Kind = "categorical"


class CategoricalField(StrictConfig):
    """A categorical field of a prepared dataset."""

    name: str
    role: Role
    vocabulary_size: int
    """Rows of its embedding table: the ids seen in train, and index 0 = unknown."""


class NumericField(StrictConfig):
    """A numeric field of a prepared dataset; it reaches the model as (value - mean) / std, a missing value as 0."""

    name: str
    role: Role
    mean: float
    std: float


class Schema(StrictConfig):
    """The fields of a prepared dataset, in the order in which batches and models hold them."""

    categorical: tuple[CategoricalField, ...]
    numeric: tuple[NumericField, ...] = ()

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [*(field.name for field in self.categorical), *(field.name for field in self.numeric)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise Contradictions([("fields", f"= {twice}: named twice; every field needs a name of its own")])
        return self

    @property
    def item_fields(self) -> tuple[CategoricalField, ...]:
        """The item id and the item's categorical fields: what a target and each behaviour are embedded from."""
        return tuple(field for field in self.categorical if field.role == "item")

    @property
    def impression_fields(self) -> tuple[CategoricalField, ...]:
        """Categorical user and context fields."""
        return tuple(field for field in self.categorical if field.role != "item")
