"""The results of a comparison, one per model, and their tables as rows, CSV and Markdown."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from clickflow.metrics.headings import HEADINGS, reported
from clickflow.metrics.ranking import rela_impr
from clickflow.metrics.significance import PairedDifference
from clickflow.text import csv_table, markdown_table

COSTS = {"num_parameters": "parameters", "rows_per_second": "rows/s", "train_seconds": "seconds"}
"""Costs of training the model, mean over seeds."""


@dataclass(frozen=True)
class ModelResult:
    """A model trained with one or several seeds: test metrics and costs by name, one value per seed.

    ``against_base`` has the paired differences of the ``tested`` metrics to the base model on the same test rows; it is empty for the base
    itself and if the base has no result. ``published`` has the paper's values.
    """

    label: str
    run_ids: tuple[str, ...]
    metrics: Mapping[str, tuple[float, ...]]
    against_base: Mapping[str, PairedDifference]
    rela_impr: float
    published: Mapping[str, float]
    tested: tuple[str, ...] = ("auc", "gauc")

    def mean(self, metric: str) -> float:
        """Mean over seeds."""
        return statistics.fmean(self.metrics[metric])

    def std(self, metric: str) -> float:
        """Sample standard deviation over seeds; NaN for a single seed."""
        values = self.metrics[metric]
        return statistics.stdev(values) if len(values) > 1 else math.nan


def improvement(auc: tuple[float, ...], base_auc: tuple[float, ...]) -> float:
    """RelaImpr of mean AUCs; NaN unless the base has one above 0.5."""
    is_defined = base_auc and statistics.fmean(base_auc) > 0.5
    return rela_impr(statistics.fmean(auc), statistics.fmean(base_auc)) if is_defined else math.nan


def quality_columns(result: ModelResult) -> dict[str, str]:
    """A model's line in the table of metrics: heading -> text."""
    columns = {"model": result.label, "seeds": str(len(result.run_ids))}
    columns |= {HEADINGS[name]: f"{result.mean(name):.4f}{_spread(result.std(name))}" for name in reported(result.metrics)}
    columns["RelaImpr"] = f"{result.rela_impr:+.2%}" if math.isfinite(result.rela_impr) else "–"
    return columns | {f"published {HEADINGS[name]}": f"{value:.4f}" for name, value in result.published.items()}


def significance_columns(result: ModelResult) -> dict[str, str]:
    """A model's line in the table of differences to the base model and of costs: heading -> text."""
    columns = {"model": result.label}
    for name in result.tested:
        found = result.against_base.get(name)
        columns[f"Δ{HEADINGS[name]} [95 %]"] = "–" if found is None else _difference(found)
        columns[f"p({HEADINGS[name]})"] = "–" if found is None else _p_value(found.p_value)
    return columns | {heading: _cost(result.mean(name)) for name, heading in COSTS.items()}


def as_markdown(results: list[ModelResult]) -> str:
    """Both tables, and the runs behind them, in Markdown."""
    runs = [{"model": result.label, "runs": ", ".join(result.run_ids)} for result in results]
    tables = ([quality_columns(r) for r in results], [significance_columns(r) for r in results], runs)
    return "\n".join(markdown_table(table) for table in tables)


def as_csv(results: list[ModelResult]) -> str:
    """One table of everything as plain numbers, one line per model."""
    return csv_table(_numbers(result) for result in results)


def _numbers(result: ModelResult) -> dict[str, str | float]:
    line: dict[str, str | float] = {"model": result.label, "seeds": len(result.run_ids), "rela_impr": result.rela_impr}
    for name in reported(result.metrics):
        line |= {f"{name}_mean": result.mean(name), f"{name}_std": result.std(name)}
    for name, found in result.against_base.items():
        line |= {f"{name}_{key}": value for key, value in found._asdict().items()}
    line |= {f"{name}_published": value for name, value in result.published.items()}
    return line | {name: result.mean(name) for name in COSTS} | {"run_ids": " ".join(result.run_ids)}


def _spread(std: float) -> str:
    return f" ± {std:.4f}" if math.isfinite(std) else ""


def _cost(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _difference(found: PairedDifference) -> str:
    """A difference with its interval; the interval is missing, or both are, where the rows do not determine them."""
    if math.isnan(found.difference):
        return "undefined"
    return f"{found.difference:+.4f}" + ("" if math.isnan(found.low) else f" [{found.low:+.4f}, {found.high:+.4f}]")


def _p_value(p: float) -> str:
    return "–" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"
