"""Columns and fields of a log, and what a model needs to know about them.

Models and the served model read schemas too, so this file does without Polars.
"""

from typing import Literal

from clickflow.config import Contradictions, StrictConfig

# The canonical columns that every source delivers; the user's files may name them otherwise.
USER = "user"
ITEM = "item"
TIMESTAMP = "timestamp"
LABEL = "label"
RATING = "rating"
TRUE_PROBABILITY = "true_probability"
HISTORY = "history"
TITLE = "item title"
"""A title for people; not a field, so it has a name that no field can have."""
SPLIT = "given split"
"""Code of the split that the log itself gives to a row; no field can have this name either."""
LIST = "given list"
"""Raw id of the list that a row was ranked in; nor this one."""
KIND = "behaviour kind"
"""Action of a user on an item (view, buy); nor this one."""
CANDIDATES, CANDIDATE_LABELS, CLICKED = "given candidates", "given labels", "given clicked"
"""Lists that a row holds: the raw ids of what was shown with their labels, or with the raw ids of what was clicked; nor these."""
GIVEN_HISTORY = "given history"
"""Raw ids of the history that a row brings, oldest first; in a checked log the number of that history."""
RESERVED_NAMES = frozenset(
    {USER, ITEM, TIMESTAMP, LABEL, RATING, TRUE_PROBABILITY, HISTORY, "group", "history_start", "history_end", "row", "preds"}
)

Role = Literal["item", "user", "context"]
Kind = Literal["categorical", "numeric"]
TimestampUnit = Literal["seconds", "milliseconds", "microseconds", "order"]
TICKS_PER_SECOND = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}


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

    def _contradictions(self) -> Contradictions:
        names = [*(field.name for field in self.categorical), *(field.name for field in self.numeric)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            yield "fields", f"= {twice}: named twice; every field needs a name of its own"

    @property
    def item_fields(self) -> tuple[CategoricalField, ...]:
        """The item id and the item's categorical fields, from which targets and behaviours are embedded."""
        return tuple(field for field in self.categorical if field.role == "item")

    @property
    def impression_fields(self) -> tuple[CategoricalField, ...]:
        """Categorical user and context fields."""
        return tuple(field for field in self.categorical if field.role != "item")
