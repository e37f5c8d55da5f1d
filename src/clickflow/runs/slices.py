"""Test metrics by history length, by popularity of the target item and by any field: where a model is good and where it is not.

Decision: the buckets of lengths and counts are the same for every data set and run, so that the tables of two runs can be compared line by
line. A field is sliced by its most frequent values in the split; all other values share one slice.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from clickflow.config import suggest
from clickflow.data.dataset import PreparedDataset, Split
from clickflow.data.schema import ITEM, CategoricalField, NumericField, Schema
from clickflow.errors import ConfigError
from clickflow.metrics.scored_rows import ScoredRows
from clickflow.metrics.strata import metrics_by_stratum
from clickflow.text import markdown_table

Field = CategoricalField | NumericField

LENGTHS = {0: "0", 1: "1 to 2", 3: "3 to 5", 6: "6 to 10", 11: "11 to 20", 21: "21 to 50", 51: "51 to 100", 101: "over 100"}
"""Least number of behaviours -> bucket."""
COUNTS = {0: "0 (cold)", 1: "1 to 9", 10: "10 to 99", 100: "100 to 999", 1000: "1000 to 9999", 10_000: "10000 or more"}
"""Least number of occurrences in train -> bucket."""
SMALL_VOCABULARY = 1_000
"""The most ids of a field that is sliced by default."""
NUM_VALUES = 15
"""Number of a field's values that have a line of their own."""
OTHER, UNKNOWN = "(other)", "(not in train)"


@dataclass(frozen=True)
class Slicing:
    """A split cut into slices by one property."""

    name: str
    codes: NDArray[np.int64]  # (R,) slice of each row
    values: Sequence[str]  # value of each slice, by code


def check_fields(fields: Sequence[str], schema: Schema, data: str) -> None:
    """Raise a ConfigError unless all of ``fields`` are fields of the data set ``data``."""
    allowed = [field.name for field in _fields(schema)]
    for name in fields:
        if name not in allowed:
            raise ConfigError(f"slice_fields = {name}: no field of data set {data}; {suggest(name, allowed)}")


def slice_table(dataset: PreparedDataset, split_name: str, rows: ScoredRows, fields: Sequence[str] | None = None) -> pl.DataFrame:
    """Metrics of every slice of a scored split, by history length, item count, user, and fields (None for all with few values).

    Returns:
        Columns ``slice``, ``value`` and those of :func:`~clickflow.metrics.strata.metrics_by_stratum`, null where a slice cannot define
        them. The first row is the whole split.
    """
    _, user = torch.unique(rows.group, return_inverse=True)
    tables = []
    for slicing in _slicings(dataset, dataset.split(split_name), fields):
        present, codes = np.unique(slicing.codes, return_inverse=True)
        found = metrics_by_stratum(rows.preds, rows.target, user, torch.from_numpy(codes.astype(np.int64)))
        labels = {"slice": [slicing.name] * len(present), "value": [slicing.values[code] for code in present]}
        tables.append(pl.DataFrame(labels | {name: column.numpy() for name, column in found.items()}))
    return pl.concat(tables).fill_nan(None)


def _slicings(dataset: PreparedDataset, split: Split, fields: Sequence[str] | None) -> Iterator[Slicing]:
    yield Slicing("all rows", np.zeros(len(split), np.int64), [""])
    yield _buckets("history length", split.rows["history_end"].astype(np.int64) - split.rows["history_start"], LENGTHS)
    counts = np.append(0, dataset.vocabulary(ITEM)["count"].to_numpy())
    yield _buckets("item count in train", counts[_values(split, ITEM, "index")], COUNTS)
    is_known = np.isin(split.rows["group"], dataset.split("train").rows["group"])
    if is_known.any() and not is_known.all():
        yield Slicing("user", np.where(is_known, 0, 1), ["in train", "cold"])
    for field in _fields(split.schema):
        if field.name in fields if fields is not None else _has_few_values(field):
            yield _by_number(split, field) if isinstance(field, NumericField) else _by_value(dataset, split, field)


def _fields(schema: Schema) -> list[Field]:
    return [*schema.categorical, *schema.numeric]


def _has_few_values(field: Field) -> bool:
    return isinstance(field, NumericField) or (field.name != ITEM and field.vocabulary_size <= SMALL_VOCABULARY)


def _values(split: Split, name: str, kind: str) -> NDArray[Any]:
    """(R,) values of a field of the rows or of their target items; ``kind`` is ``index`` or ``numeric``."""
    if f"{kind}/{name}" in split.rows:
        return split.rows[f"{kind}/{name}"]
    item = split.rows[ITEM].astype(np.int64)
    if kind == "numeric":
        return split.items.numeric[name].numpy()[item]
    place = next(place for place, field in enumerate(split.schema.item_fields) if field.name == name)
    return split.items.index[place].numpy()[item]


def _buckets(name: str, numbers: NDArray[np.int64], buckets: dict[int, str]) -> Slicing:
    return Slicing(name, np.searchsorted(list(buckets), numbers, side="right") - 1, list(buckets.values()))


def _by_value(dataset: PreparedDataset, split: Split, field: CategoricalField) -> Slicing:
    """Slices of the most frequent values, then of the others together, then of values that train did not show."""
    index = _values(split, field.name, "index").astype(np.int64)
    frequency = np.bincount(index, minlength=field.vocabulary_size)
    order = np.argsort(-frequency[1:], kind="stable")[:NUM_VALUES] + 1
    code = np.full(field.vocabulary_size, len(order))
    code[order], code[0] = np.arange(len(order)), len(order) + 1
    raw = dataset.vocabulary(field.name)["raw"].gather(order - 1).cast(pl.String).to_list()
    return Slicing(field.name, code[index], [*raw, OTHER, UNKNOWN])


def _by_number(split: Split, field: NumericField) -> Slicing:
    """Quarters of the rows by a numeric field, fewer if many rows have the same value."""
    standardised = _values(split, field.name, "numeric").astype(np.float64)
    edges = np.unique(np.quantile(standardised, [0.25, 0.5, 0.75]))
    edges = edges[edges < standardised.max()]
    shown = [f"{field.mean + field.std * edge:.4g}" for edge in edges]
    between = [f"over {low} to {high}" for low, high in itertools.pairwise(shown)]
    values = [f"to {shown[0]}", *between, f"over {shown[-1]}"] if shown else ["all"]
    return Slicing(field.name, np.searchsorted(edges, standardised, side="left"), values)


def slice_columns(row: Mapping[str, Any]) -> dict[str, str]:
    """A row of the table for people: heading -> text."""
    interval = "" if row["auc_low"] is None else f" [{row['auc_low']:.4f}, {row['auc_high']:.4f}]"
    return {
        "slice": str(row["slice"]),
        "value": str(row["value"]),
        "rows": f"{row['rows']:,}",
        "users": f"{row['users']:,}",
        "click rate": f"{row['click_rate']:.4f}",
        "AUC [95 %]": _number(row["auc"]) + interval,
        "GAUC": _number(row["gauc"]),
        "log loss": _number(row["log_loss"]),
        "calibration": _number(row["calibration"]),
    }


def slices_as_markdown(table: pl.DataFrame) -> str:
    """The table in Markdown."""
    return markdown_table([slice_columns(row) for row in table.iter_rows(named=True)], "llr")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
