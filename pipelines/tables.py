"""What the pipelines print: tables a person reads."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from clickflow.data.dataset import PreparedDataset
from clickflow.data.prepare import prepare
from clickflow.data.schema import TimestampUnit
from clickflow.runs.config import PrepareConfig
from pipelines.launch import progress_printer

HEADINGS = {
    "auc": "AUC",
    "gauc": "GAUC",
    "gauc_users_skipped": "users skipped",
    "pr_auc": "PR-AUC",
    "log_loss": "log loss",
    "oracle_auc": "oracle AUC",
}
PER_SECOND = {"seconds": 1, "milliseconds": 1_000, "microseconds": 1_000_000}


def timed_prepare(config: PrepareConfig, console: Console) -> tuple[PreparedDataset, float | None]:
    """Prepare; the seconds it took, or None where all was prepared already."""
    stages: list[str] = []

    def progress(stage: str) -> None:
        stages.append(stage)
        progress_printer(console)(stage)

    start = time.perf_counter()
    dataset = prepare(config.data, config.protocol, config.home, progress)
    return dataset, time.perf_counter() - start if "writing" in stages else None


def print_dataset(console: Console, dataset: PreparedDataset, seconds: float | None) -> None:
    """Sizes, splits, history lengths, what was dropped, and the speed of preparing."""
    manifest = dataset.manifest
    splits = Table(title=f"{manifest.name}, protocol {manifest.protocol['name']}", title_justify="left")
    for heading in ("split", "rows", "users", "positive rate", "from", "to"):
        splits.add_column(heading, justify="left" if heading == "split" else "right")
    for name, split in manifest.splits.items():
        dates = [_date(moment, manifest.timestamp_unit) for moment in (split.first_timestamp, split.last_timestamp)]
        splits.add_row(name, f"{split.rows:,}", f"{split.users:,}", f"{split.positives / split.rows:.4f}", *dates)
    console.print(splits)
    quantiles = ", ".join(f"{name} {value:g}" for name, value in manifest.history_length_quantiles.items() if name != "mean")
    console.print(f"users {manifest.num_users:,}, items {manifest.num_items:,}, behaviours {manifest.num_behaviours:,}")
    console.print(f"history length: mean {manifest.history_length_quantiles['mean']:.1f}, {quantiles}", soft_wrap=True)
    fields = ", ".join(f"{f.name} ({f.vocabulary_size:,})" for f in manifest.fields.categorical)
    console.print(f"fields: {fields}" + "".join(f", {f.name} (numeric)" for f in manifest.fields.numeric))
    noted = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in manifest.counts.items() if count)
    if noted:
        console.print(f"noted: {noted}", soft_wrap=True)
    rows = sum(split.rows for split in manifest.splits.values())
    console.print(f"{dataset.num_bytes / 1e6:,.1f} MB in {dataset.folder}", soft_wrap=True)
    if seconds is None:
        console.print("prepared already; nothing was done")
    else:
        console.print(f"{seconds:.1f} s, {rows / seconds:,.0f} rows/s, {manifest.num_behaviours / seconds:,.0f} behaviours/s")


def print_metrics(console: Console, title: str, metrics: Mapping[str, float]) -> None:
    """One row of metrics."""
    table = Table(title=title, title_justify="left")
    for name in metrics:
        table.add_column(HEADINGS.get(name, name), justify="right")
    table.add_row(*(f"{value:,.0f}" if name == "gauc_users_skipped" else f"{value:.4f}" for name, value in metrics.items()))
    console.print(table)


def _date(moment: int, unit: TimestampUnit | str) -> str:
    """A date, or the bare number where the log knows only an order."""
    if unit not in PER_SECOND:
        return str(moment)
    return datetime.fromtimestamp(moment / PER_SECOND[unit], UTC).strftime("%Y-%m-%d")
