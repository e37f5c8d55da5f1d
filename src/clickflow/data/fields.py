"""Fields of a log as columns of numbers: vocabularies and numeric scales are fitted on train, then everything is encoded with them.

An item field is encoded once per item, not once per row, and counts as often as its item occurs in train: a category's count is how often
a model sees it in targets and histories.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clickflow.data.arrays import IntArray
from clickflow.data.moments import GroupMoments
from clickflow.data.rows import PartRows
from clickflow.data.schema import ITEM, CategoricalField, FieldSpec, NumericField, Schema
from clickflow.data.splits import TRAIN
from clickflow.data.tallies import ROWS, Tally
from clickflow.data.vocabulary import Vocabulary

Column = NDArray[Any]


class TrainFields:
    """User and context fields as train shows them, added up part by part."""

    def __init__(self, specs: Sequence[FieldSpec]) -> None:
        self._tallies = {spec.name: Tally(spec.name) for spec in specs if spec.kind == "categorical"}
        self._moments: dict[str, list[GroupMoments]] = {spec.name: [] for spec in specs if spec.kind == "numeric"}

    def add(self, part: PartRows) -> None:
        """Look at the next part."""
        in_train = part.split == TRAIN
        rows, group = part.impressions.source_row[in_train], part.impressions.group[in_train]
        for name, tally in self._tallies.items():
            tally.add(part.source[name].gather(rows))
        for name, moments in self._moments.items():
            values = part.source[name].gather(rows).cast(pl.Float64).to_numpy()
            known = np.isfinite(values)
            moments.append(GroupMoments.of(values[known], group[known]))

    def vocabulary(self, name: str) -> Vocabulary:
        """The vocabulary of a categorical field."""
        table = self._tallies[name].table()
        return Vocabulary.fit(table[name], table[ROWS].to_numpy())

    def scale(self, spec: FieldSpec) -> NumericField:
        """The scale of a numeric field."""
        return _numeric_field(spec, GroupMoments.together(self._moments[spec.name]))


@dataclass(frozen=True)
class Fields:
    """The fields of a log of I items.

    Attributes:
        schema: the fields, as models need them.
        vocabularies: of the categorical fields, the item id first.
        item_columns: ``index/<field>`` and ``numeric/<field>``, each (I + 1,); row 0 is the unknown item.
    """

    schema: Schema
    vocabularies: dict[str, Vocabulary]
    item_columns: dict[str, Column]

    def row_columns(self, part: PartRows) -> dict[str, Column]:
        """``index/<field>`` and ``numeric/<field>`` of the user and context fields, each (R,), in the order of the part's source."""
        columns: dict[str, dict[str, Column]] = {"user": {}, "context": {}}
        for field in self.schema.impression_fields:
            columns[field.role][f"index/{field.name}"] = _indices(part.source[field.name], self.vocabularies[field.name])
        for number in self.schema.numeric:
            if number.role != "item":
                columns[number.role][f"numeric/{number.name}"] = _standardise(part.source[number.name], number)
        return columns["user"] | columns["context"]


def fit_fields(specs: Sequence[FieldSpec], items: pl.DataFrame, item_counts: IntArray, train: TrainFields) -> Fields:
    """Fit all fields, and encode those of the items.

    Args:
        specs: the fields besides the item id.
        items: raw ids and item fields, one row per item.
        item_counts: (I,) occurrences of each item in train.
        train: what train shows of the other fields.
    """
    vocabularies: dict[str, Vocabulary] = {}
    numeric: list[NumericField] = []
    columns: dict[str, Column] = {}
    categorical: list[CategoricalField] = []
    for spec in (FieldSpec(name=ITEM, role="item"), *specs):
        of_item = spec.role == "item"
        if spec.kind == "categorical":
            vocabulary = Vocabulary.fit(items[spec.name], item_counts) if of_item else train.vocabulary(spec.name)
            vocabularies[spec.name] = vocabulary
            categorical.append(CategoricalField(name=spec.name, role=spec.role, vocabulary_size=len(vocabulary)))
            if of_item:
                columns[f"index/{spec.name}"] = _indices(items[spec.name], vocabulary)
        else:
            field = _item_scale(spec, items[spec.name], item_counts) if of_item else train.scale(spec)
            numeric.append(field)
            if of_item:
                columns[f"numeric/{spec.name}"] = _standardise(items[spec.name], field)
    return Fields(
        schema=Schema(categorical=tuple(categorical), numeric=tuple(numeric)),
        vocabularies=vocabularies,
        item_columns={key: np.concatenate([np.zeros(1, column.dtype), column]) for key, column in columns.items()},
    )


def smallest_integer(size: int) -> type[np.unsignedinteger[Any] | np.signedinteger[Any]]:
    """The smallest integer type that holds 0 ... size.

    >>> smallest_integer(255).__name__, smallest_integer(256).__name__, smallest_integer(1_000_000).__name__
    ('uint8', 'uint16', 'int32')
    """
    for dtype in (np.uint8, np.uint16, np.int32):
        if size <= np.iinfo(dtype).max:
            return dtype
    return np.int64


def _item_scale(spec: FieldSpec, values: pl.Series, counts: IntArray) -> NumericField:
    """An item's value counts as often as the item occurs in train."""
    numbers = values.cast(pl.Float64).to_numpy()
    known = np.isfinite(numbers) & (counts > 0)
    return _numeric_field(spec, GroupMoments.of_repeated(numbers[known], counts[known]))


def _numeric_field(spec: FieldSpec, moments: GroupMoments) -> NumericField:
    mean, std = moments.mean_and_std()
    return NumericField(name=spec.name, role=spec.role, mean=mean, std=std)


def _indices(values: pl.Series, vocabulary: Vocabulary) -> Column:
    return vocabulary.encode(values).astype(smallest_integer(len(vocabulary)))


def _standardise(values: pl.Series, field: NumericField) -> NDArray[np.float32]:
    """(R,) float32; a missing value, or one that float32 cannot hold, becomes 0, the mean."""
    with np.errstate(over="ignore"):
        standardised = ((values.cast(pl.Float64).to_numpy() - field.mean) / field.std).astype(np.float32)
    return np.where(np.isfinite(standardised), standardised, np.float32(0))
