"""A trained model's attention: the weights of sample users' behaviours, as a table and a figure.

Samples are drawn with a fixed seed from all users whose history is long enough, with either label. So all runs on a data set show the same
users, and nobody picks the ones that look best.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import nn

from clickflow.data.batches import jagged_ranges
from clickflow.data.dataset import PreparedDataset, Split
from clickflow.data.schema import ITEM, LABEL
from clickflow.figures.attention_figure import AttentionSample, attention_figure
from clickflow.text import cut
from clickflow.tracking.run import Run

SEED = 0
SHORTEST_HISTORY = 5
"""Fewest behaviours of a sample; if no history has as many, the longest ones are sampled."""
NUM_SAMPLES = 20
NUM_PANELS = 4
BEHAVIOURS_SHOWN = 15
"""Number of the latest behaviours in a panel of the figure; the table holds all that the model saw."""


@dataclass(frozen=True)
class _Past:
    """Sampled impressions, and the part of their histories that the model saw, one history after the other."""

    rows: NDArray[np.int64]  # (S,) the impressions' rows in the split
    items: NDArray[np.int64]  # (N,) item row of each behaviour
    sample: NDArray[np.int64]  # (N,) position of each behaviour's impression in ``rows``
    position: NDArray[np.int64]  # (N,) position of each behaviour in its history, from 1 = the oldest


def log_attention(run: Run, model: nn.Module, dataset: PreparedDataset, split_name: str, max_history: int) -> None:
    """Log ``attention/<split>.csv`` and ``figures/<split>/attention.png``; nothing if the model or the split has no attention."""
    table = attention_table(model, dataset, split_name, max_history)
    if table is None:
        return
    run.log_text(table.write_csv(), f"attention/{split_name}.csv")
    kind = next((field.name for field in dataset.schema.item_fields if field.name != ITEM), ITEM)
    run.log_figure(attention_figure(_samples(table, kind), kind), f"figures/{split_name}/attention.png")


def attention_table(model: nn.Module, dataset: PreparedDataset, split_name: str, max_history: int) -> pl.DataFrame | None:
    """One row per behaviour of every sample, by raw ids.

    Returns:
        ``sample`` (from 1), ``user``, ``target_item``, ``target_<field>`` for each categorical item field, ``target_title`` where the data
        set has titles, ``label``, ``pred``, ``position`` (from 1 = the oldest the model saw), ``behaviour_item``, ``behaviour_<field>``,
        ``behaviour_title``, ``weight``. None if the model gives no attention or no row has a history.
    """
    split = dataset.split(split_name)
    past = _sampled_past(split, max_history)
    if past is None:
        return None
    model.eval()
    with torch.inference_mode():
        output = model(split.take(past.rows, max_history))
    if output.attention is None:
        return None
    rows = past.rows[past.sample]
    return pl.DataFrame(
        [
            pl.Series("sample", past.sample + 1),
            dataset.raw_users().gather(split.rows["group"][rows].astype(np.uint32)).rename("user"),
            *_described(dataset, split, split.rows[ITEM][rows].astype(np.int64), "target"),
            pl.Series("label", split.rows[LABEL][rows]),
            pl.Series("pred", torch.sigmoid(output.logit).numpy()[past.sample]),
            pl.Series("position", past.position),
            *_described(dataset, split, past.items, "behaviour"),
            pl.Series("weight", output.attention.numpy()),
        ]
    )


def _sampled_past(split: Split, max_history: int) -> _Past | None:
    """One random row of each of some random users, of the rows whose history is long enough."""
    starts, ends = (split.rows[name].astype(np.int64) for name in ("history_start", "history_end"))
    lengths = ends - starts
    longest = int(lengths.max(initial=0))
    if longest == 0:
        return None
    draw = np.random.default_rng(SEED)
    candidates = draw.permutation(np.flatnonzero(lengths >= min(SHORTEST_HISTORY, longest)))
    _, first_of_user = np.unique(split.rows["group"][candidates], return_index=True)
    rows = candidates[draw.permutation(first_of_user)[:NUM_SAMPLES]]
    lengths = np.minimum(lengths[rows], max_history)
    positions, offsets = jagged_ranges(torch.from_numpy(ends[rows] - lengths), torch.from_numpy(ends[rows]))
    sample = np.repeat(np.arange(len(rows)), lengths)
    position = np.arange(len(sample)) - offsets.numpy()[sample] + 1
    return _Past(rows, split.behaviours.take(positions.numpy()).astype(np.int64), sample, position)


def _described(dataset: PreparedDataset, split: Split, items: NDArray[np.int64], prefix: str) -> list[pl.Series]:
    """Raw ids, raw categorical fields and titles of item rows; null where a value is unknown."""
    columns = [dataset.raw_items().gather(items.astype(np.uint32) - 1).rename(f"{prefix}_item")]  # no log holds row 0, the unknown item
    for field, indices in zip(dataset.schema.item_fields, split.items.index.numpy(), strict=True):
        if field.name != ITEM:
            raw = dataset.vocabulary(field.name)["raw"]
            unknown = pl.Series("raw", [None], dtype=raw.dtype)
            columns.append(unknown.append(raw).gather(indices[items].astype(np.uint32)).rename(f"{prefix}_{field.name}"))
    titles = dataset.titles()
    if titles is not None and "title" not in (field.name for field in dataset.schema.item_fields):
        columns.append(titles.gather(items.astype(np.uint32) - 1).rename(f"{prefix}_title"))
    return columns


def _samples(table: pl.DataFrame, kind: str) -> list[AttentionSample]:
    """The first samples of a table, with their latest behaviours."""
    samples = []
    for (_,), history in table.filter(pl.col("sample") <= NUM_PANELS).group_by("sample", maintain_order=True):
        shown = history.tail(BEHAVIOURS_SHOWN)
        first = shown.row(0, named=True)
        clicked = "label 1" if first["label"] else "label 0"
        samples.append(
            AttentionSample(
                target=f"Target: {_called(first, 'target', kind)}",
                outcome=f"user {first['user']}, {clicked}, prediction {first['pred']:.3f}",
                behaviours=[_called(row, "behaviour", kind) for row in shown.iter_rows(named=True)],
                weights=shown["weight"].to_numpy(),
                is_alike=(shown[f"behaviour_{kind}"] == shown[f"target_{kind}"]).fill_null(False).to_numpy(),
            )
        )
    return samples


def _called(row: dict[str, Any], prefix: str, kind: str) -> str:
    """The title, or else the raw id, with the kind in brackets."""
    name = _one_line(row.get(f"{prefix}_title") or row[f"{prefix}_item"], 32)
    value = row[f"{prefix}_{kind}"]
    return name if kind == ITEM or value is None else f"{name} ({_one_line(value, 20)})"


def _one_line(value: object, length: int) -> str:
    return cut(" ".join(str(value).split()), length)
