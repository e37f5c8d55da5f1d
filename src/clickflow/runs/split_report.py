"""Score a split, and log the scores onto a run: metrics, curves that overlay, figures, predictions."""

import math
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import nn

from clickflow.data.dataset import LIST_ID, PreparedDataset
from clickflow.data.predictions import write_predictions
from clickflow.figures.metric_figures import pr_figure, reliability_figure, roc_figure
from clickflow.figures.slice_figure import SlicePoint, slice_figure
from clickflow.metrics.calibration import reliability
from clickflow.metrics.curves import pr_curve, roc_curve
from clickflow.metrics.headings import shown_value
from clickflow.metrics.intervals import ConfidenceInterval
from clickflow.metrics.ranking import auc
from clickflow.metrics.scored_rows import ScoredRows
from clickflow.runs.slices import slices_as_markdown
from clickflow.text import markdown_table
from clickflow.tracking.names import DESCRIPTION_TAG
from clickflow.tracking.run import Run
from clickflow.training.config import TrainerConfig
from clickflow.training.inference import predict_batches
from clickflow.training.loaders import evaluation_loader

FIGURES = ("roc.png", "pr.png", "reliability.png")


@dataclass(frozen=True)
class ScoredSplit:
    """A split, ``validation`` or ``test``, with a model's predictions in the split's order and their metrics, named without a prefix."""

    name: str
    rows: ScoredRows
    metrics: dict[str, float]


def score(model: nn.Module, dataset: PreparedDataset, split: str, trainer: TrainerConfig) -> ScoredSplit:
    """Predict a split and measure the predictions; ``oracle_auc`` is the best that any model could reach, where the truth is known."""
    loader = evaluation_loader(dataset, split, trainer)
    lists = loader.split.rows.get(LIST_ID)
    rows = ScoredRows.checked(*predict_batches(model, loader), None if lists is None else torch.from_numpy(lists.astype(np.int64)))
    metrics = rows.measure()
    truth = loader.split.true_probability()
    if truth is not None:
        metrics["oracle_auc"] = auc(torch.tensor(truth), rows.target)
    return ScoredSplit(split, rows, metrics)


def log_split(run: Run, dataset: PreparedDataset, scored: ScoredSplit, *, curve_prefix: str = "", figures: bool = True) -> None:
    """Log curves, figures and predictions of a scored split.

    A prefix of the curves' names keeps validation and test from sharing a line. Figures can also be drawn later, from the curves and
    predictions.
    """
    preds, target = scored.rows.preds, scored.rows.target
    roc, pr = roc_curve(preds, target), pr_curve(preds, target)
    run.log_curves({f"{curve_prefix}{curve.name}": (curve.steps, curve.y) for curve in (roc, pr)})
    if figures:
        rate = float(target.float().mean())
        drawn = (
            roc_figure({scored.name: roc}, {scored.name: scored.metrics["auc"]}),
            pr_figure({scored.name: pr}, {scored.name: scored.metrics["pr_auc"]}, rate),
            reliability_figure(reliability(preds, target)),
        )
        for name, figure in zip(FIGURES, drawn, strict=True):
            run.log_figure(figure, f"figures/{scored.name}/{name}")
    table = np.stack([roc.x, roc.y, pr.x, pr.y], axis=1)
    lines = ["fpr,tpr,recall,precision", *(",".join(f"{value:.6g}" for value in row) for row in table)]
    run.log_text("\n".join(lines) + "\n", f"curves/{scored.name}.csv")
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / f"{scored.name}.parquet"
        write_predictions(path, dataset, scored.name, preds.numpy())
        run.log_file(path, "predictions")


def log_intervals(run: Run, scored: ScoredSplit, intervals: Mapping[str, ConfidenceInterval]) -> None:
    """Log both ends of each 95 % interval (``test/auc_low``, ``test/auc_high``) but NaN, and put the metrics into the run's description."""
    ends = {f"{scored.name}/{name}_{end}": value for name, found in intervals.items() for end, value in found._asdict().items()}
    run.log_metrics({name: value for name, value in ends.items() if math.isfinite(value)}, step=0)
    headings = (scored.name, "value", "95 % interval")
    table = markdown_table([dict(zip(headings, line, strict=True)) for line in shown_metrics(scored.metrics, intervals)])
    description = run.found.tags.get(DESCRIPTION_TAG, "")
    earlier = rf"^\| {re.escape(scored.name)} +\| +value \| +95 % interval \|\n(\|.*\n?)*"
    without = re.sub(earlier, "", description, flags=re.MULTILINE).rstrip()
    run.set_description(f"{without}\n\n{table}")


def shown_metrics(metrics: Mapping[str, float], intervals: Mapping[str, ConfidenceInterval]) -> list[tuple[str, str, str]]:
    """Name, value and interval of each metric, as tables show them; a dash where the rows cannot tell."""
    return [(name, shown_value(name, value), shown_interval(intervals.get(name))) for name, value in metrics.items()]


def shown_interval(interval: ConfidenceInterval | None) -> str:
    """An interval as tables show it; a dash where there is none."""
    return "–" if interval is None or math.isnan(interval.low) else f"[{interval.low:.4f}, {interval.high:.4f}]"


def log_slices(run: Run, split: str, table: pl.DataFrame) -> None:
    """Log ``slices/<split>.csv``, ``slices/<split>.md`` and ``figures/<split>/slices.png``."""
    run.log_text(table.write_csv(), f"slices/{split}.csv")
    run.log_text(slices_as_markdown(table), f"slices/{split}.md")
    columns = table.select("slice", "value", "rows", *(pl.col(name).fill_null(math.nan) for name in ("auc", "auc_low", "auc_high")))
    whole, *points = (SlicePoint(*row) for row in columns.iter_rows())
    run.log_figure(slice_figure(points, whole.auc, f"AUC by slice of the {split} split"), f"figures/{split}/slices.png")
