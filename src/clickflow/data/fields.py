"""Fields of a log as columns of numbers: vocabularies and numeric scales are fitted on train, then everything is encoded with them.

An item field is encoded once per item, not once per row, and counts as often as its item occurs in train: a category's count is how often
a model sees it in targets and histories.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clickflow.data.item_values import item_values
from clickflow.data.rows import LogRows
from clickflow.data.schema import ITEM, CategoricalField, FieldSpec, NumericField, Schema
from clickflow.data.splits import TRAIN
from clickflow.data.validation import CheckedLog
from clickflow.data.vocabulary import Vocabulary

Column = NDArray[Any]

# Relative to the largest value: a smaller spread is the rounding error of a constant.
SMALLEST_SPREAD = 1e-12


@dataclass(frozen=True)
class EncodedFields:
    """The fields of a log of I items and R rows.

    Attributes:
        schema: the fields, as models need them.
        vocabularies: of the categorical fields, the item id first.
        item_columns: ``index/<field>`` and ``numeric/<field>``, each (I + 1,); row 0 is the unknown item.
        row_columns: the same of user and context fields, each (R,), in the order of the log.
        counts: items noted, by reason.
    """

    schema: Schema
    vocabularies: dict[str, Vocabulary]
    item_columns: dict[str, Column]
    row_columns: dict[str, Column]
    counts: dict[str, int]


def encode_fields(log: CheckedLog, rows: LogRows) -> EncodedFields:
    """Fit and encode the item id and all fields of a log."""
    specs = (FieldSpec(name=ITEM, role="item"), *log.raw.fields)
    items, noted = item_values(log, rows)
    train_rows = rows.impressions.source_row[rows.impressions.split == TRAIN]
    vocabularies: dict[str, Vocabulary] = {}
    numeric: dict[str, NumericField] = {}
    columns: dict[str, dict[str, Column]] = {"item": {}, "user": {}, "context": {}}
    for spec in specs:
        of_item = spec.role == "item"
        values = items[spec.name] if of_item else log.interactions[spec.name]
        train, counts = (values, rows.item_counts) if of_item else (values.gather(train_rows), None)
        if spec.kind == "categorical":
            vocabulary = vocabularies[spec.name] = Vocabulary.fit(train, counts)
            columns[spec.role][f"index/{spec.name}"] = vocabulary.encode(values).astype(smallest_integer(len(vocabulary)))
        else:
            field = numeric[spec.name] = _fit_numeric(spec, train, counts)
            columns[spec.role][f"numeric/{spec.name}"] = _standardise(values, field)
    categorical = (
        CategoricalField(name=spec.name, role=spec.role, vocabulary_size=len(vocabularies[spec.name]))
        for spec in specs
        if spec.name in vocabularies
    )
    return EncodedFields(
        schema=Schema(categorical=tuple(categorical), numeric=tuple(numeric.values())),
        vocabularies=vocabularies,
        item_columns={key: np.concatenate([np.zeros(1, column.dtype), column]) for key, column in columns["item"].items()},
        row_columns=columns["user"] | columns["context"],
        counts=noted,
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


def _fit_numeric(spec: FieldSpec, train: pl.Series, counts: NDArray[np.int64] | None) -> NumericField:
    """Mean and spread over train; an item's value counts as often as the item occurs."""
    values = train.cast(pl.Float64).to_numpy()
    known = np.isfinite(values) & (True if counts is None else counts > 0)
    if not known.any():
        return NumericField(name=spec.name, role=spec.role, mean=0.0, std=1.0)
    scale = np.abs(values[known]).max() or 1.0  # so that squares of large values stay finite
    relative = values[known] / scale
    weights = None if counts is None else counts[known]
    mean = np.average(relative, weights=weights)
    std = np.sqrt(np.average((relative - mean) ** 2, weights=weights))
    return NumericField(name=spec.name, role=spec.role, mean=float(mean * scale), std=float(std * scale) if std > SMALLEST_SPREAD else 1.0)


def _standardise(values: pl.Series, field: NumericField) -> NDArray[np.float32]:
    """(R,) float32; a missing value, or one that float32 cannot hold, becomes 0, the mean."""
    with np.errstate(over="ignore"):
        standardised = ((values.cast(pl.Float64).to_numpy() - field.mean) / field.std).astype(np.float32)
    return np.where(np.isfinite(standardised), standardised, np.float32(0))
