"""Tables that the pipelines print."""

import itertools
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import polars as pl
from rich.console import Console
from rich.markup import escape

from clickflow.cli.next_command import progress_printer
from clickflow.cli.row_bar import StageBar
from clickflow.cli.tables import print_table
from clickflow.data.dataset import PreparedDataset
from clickflow.data.field_values import DISTINCT, JOINED, MISSING, TOKENS, UNREADABLE, VALUES
from clickflow.data.given_histories import CLICKS_ENDING_HISTORY
from clickflow.data.kinds import COUNTED
from clickflow.data.manifest import Manifest
from clickflow.data.prepare import prepare
from clickflow.data.schema import TICKS_PER_SECOND, CategoricalField, NumericField, TimestampUnit
from clickflow.data.splits import SPLITS
from clickflow.data.validation import DROPPED
from clickflow.errors import DataError
from clickflow.metrics.headings import heading_of, shown_value
from clickflow.runs.config import PrepareConfig
from clickflow.runs.evaluate import Evaluation
from clickflow.runs.run_dataset import refuse_one_class
from clickflow.runs.slices import slice_columns
from clickflow.runs.split_report import shown_metrics
from clickflow.text import counted

SLICE_HEADINGS = ("slice", "value", "rows", "click rate", "AUC [95 %]", "GAUC", "log loss", "calibration")
SLICES_SHOWN = 8
"""Lines per sort of slice; the run has all of them."""
SLICE_WIDTH = 130
"""Columns that the table of slices fits into."""


def timed_prepare(config: PrepareConfig, console: Console) -> tuple[PreparedDataset, float | None]:
    """Prepare; the seconds it took, or None where all was prepared already."""
    stages: list[str] = []

    start = time.perf_counter()
    with StageBar() as bar:

        def progress(stage: str) -> None:
            stages.append(stage)
            bar.stage(stage)
            progress_printer(console)(stage)

        dataset = prepare(config.data, config.protocol, config.home, progress, bar.rows)
    return dataset, time.perf_counter() - start if "writing" in stages else None


def print_dataset(console: Console, dataset: PreparedDataset, seconds: float | None) -> None:
    """Sizes, splits, history lengths, fields, what was dropped for which reason, what a training lacks, and the speed of preparing."""
    manifest = dataset.manifest
    splits = [
        {
            "split": name,
            "rows": f"{split.rows:,}",
            "users": f"{split.users:,}",
            **({} if split.lists is None else {"lists": f"{split.lists:,}"}),
            "positive rate": f"{split.positives / split.rows:.4f}",
            "from": _date(split.first_timestamp, manifest.timestamp_unit),
            "to": _date(split.last_timestamp, manifest.timestamp_unit),
        }
        for name, split in manifest.splits.items()
    ]
    print_table(console, f"{manifest.name}, protocol {manifest.protocol['name']}", splits, left=["split"])
    quantiles = ", ".join(f"{name} {value:g}" for name, value in manifest.history_length_quantiles.items() if name != "mean")
    console.print(f"users {manifest.num_users:,}, items {manifest.num_items:,}, behaviours {manifest.num_behaviours:,}")
    kinds = {name.removeprefix(COUNTED): count for name, count in manifest.counts.items() if name.startswith(COUNTED)}
    if kinds:
        shown = ", ".join(f"{kind} {count:,}" for kind, count in kinds.items())
        console.print(f"kinds of behaviours: {shown}", soft_wrap=True, markup=False)
    console.print(f"history length: mean {manifest.history_length_quantiles['mean']:.1f}, {quantiles}", soft_wrap=True)
    print_table(console, "fields", _field_rows(manifest), left=["field", "kind", "note"])
    if simultaneous := manifest.counts.get("behaviours_sharing_a_moment"):
        effect = "are in an order drawn by seed" if manifest.protocol.get("ties") == "position" else "are not in each other's history"
        share = f"{simultaneous:,} behaviours ({simultaneous / manifest.num_behaviours:.1%})"
        console.print(f"{share} share their moment with another one of the same user; they {effect}", soft_wrap=True)
    if leaking := manifest.counts.get(CLICKS_ENDING_HISTORY):
        clicks = sum(split.positives for split in manifest.splits.values())
        console.print(
            f"[yellow]beware: the histories of {leaking:,} clicked rows ({leaking / clicks:.1%} of the clicks) end with the clicked item; "
            "unless users often repeat an item, they hold the clicks that they should predict[/]",
            soft_wrap=True,
        )
    noted = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in manifest.counts.items() if count and ": " not in name)
    if noted:
        console.print(f"noted: {noted}", soft_wrap=True)
    for name, count in manifest.counts.items():
        if name.startswith((DROPPED, TOKENS)):
            console.print(f"{name} ({counted(count, 'row')})", soft_wrap=True, markup=False)
    try:
        refuse_one_class(dataset, SPLITS)
    except DataError as error:  # preparing is done, and a training or an evaluation will refuse it
        console.print(f"[yellow]beware: {escape(str(error))}[/]", soft_wrap=True)
    rows = sum(split.rows for split in manifest.splits.values())
    console.print(f"{dataset.num_bytes / 1e6:,.1f} MB in {dataset.folder}", soft_wrap=True)
    if seconds is None:
        console.print("prepared already; nothing was done")
    else:
        console.print(f"{seconds:.1f} s, {rows / seconds:,.0f} rows/s, {manifest.num_behaviours / seconds:,.0f} behaviours/s")


def _field_rows(manifest: Manifest) -> Iterator[dict[str, str]]:
    """Different values (of a category: those in train), the share of missing ones, and what is odd about a field."""
    counts = manifest.counts
    fields: tuple[CategoricalField | NumericField, ...] = (*manifest.fields.categorical, *manifest.fields.numeric)
    for field in fields:
        is_numeric = isinstance(field, NumericField)
        different = counts.get(f"{DISTINCT}{field.name}", 0) if isinstance(field, NumericField) else field.vocabulary_size - 1
        values = counts.get(f"{VALUES}{field.name}")
        odd = ((UNREADABLE, "unreadable"), (JOINED, "with several values in one text"))
        notes = [f"{counts[prefix + field.name]:,} {what}" for prefix, what in odd if prefix + field.name in counts]
        missing = f"{counts[MISSING + field.name] / values:.1%}" if values else "–"
        kind = "numeric" if is_numeric else "categorical"
        yield {"field": field.name, "kind": kind, "different": f"{different:,}", "missing": missing, "note": ", ".join(notes)}


def print_metrics(console: Console, title: str, metrics: Mapping[str, float]) -> None:
    """One row of metrics."""
    row = {heading_of(name): shown_value(name, value) for name, value in metrics.items()}
    print_table(console, title, [row], left=[], width=SLICE_WIDTH if "lists_skipped" in metrics else None)


def print_evaluation(console: Console, evaluation: Evaluation) -> None:
    """Test metrics with their intervals, the slices, and how often the test split was opened."""
    shown = shown_metrics(evaluation.scored.metrics, evaluation.intervals)
    rows = [{"metric": heading_of(name), "value": value, "95 % interval": interval} for name, value, interval in shown]
    print_table(console, "test split", rows, left=["metric"])
    print_table(console, "by slice", _slice_rows(evaluation.slices), left=["slice", "value"], width=SLICE_WIDTH)
    times, runs = evaluation.openings.times, evaluation.openings.runs
    console.print(
        f"the test split of this data set has been opened {counted(times, 'time')}, by {counted(runs, 'run')}; the more often it decides "
        "between models, the less it tells of new users",
        soft_wrap=True,
    )


def _slice_rows(slices: pl.DataFrame) -> Iterator[dict[str, str] | None]:
    """The first lines of each sort of slice; the rest is in the run."""
    rows = [(row["slice"], slice_columns(row)) for row in slices.iter_rows(named=True)]
    for _, found in itertools.groupby(rows, key=lambda row: row[0]):
        lines = [columns for _, columns in found]
        shown = lines if len(lines) <= SLICES_SHOWN else lines[: SLICES_SHOWN - 1]
        for position, line in enumerate(shown):
            yield {heading: "" if position and heading == "slice" else line[heading] for heading in SLICE_HEADINGS}
        if len(shown) < len(lines):
            yield {"value": f"… {len(lines) - len(shown)} more"}
        yield None


def _date(moment: int, unit: TimestampUnit | str) -> str:
    """A date, or the bare number where the log knows only an order."""
    if unit not in TICKS_PER_SECOND:
        return str(moment)
    return datetime.fromtimestamp(moment / TICKS_PER_SECOND[unit], UTC).strftime("%Y-%m-%d")
