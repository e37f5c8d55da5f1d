"""Train a finished run again and compare every metric: ``clickflow reproduce run_id=RUN``.

Exit codes: 0 they agree, 3 they do not, 2 an error.
"""

if __name__ == "__main__":  # first of all: a wrong config is answered before anything heavy is imported
    from clickflow.cli.main import run

    run("reproduce")

import sys

from rich.console import Console
from rich.table import Table

from clickflow.cli.next_command import progress_printer, ui_command
from clickflow.errors import EXIT_CODE_NO
from clickflow.runs.config import ReproduceConfig
from clickflow.runs.metric_differences import Difference, MetricDifferences
from clickflow.runs.reproduce import Reproduction, reproduce

NUM_ROWS = 10


def main(config: ReproduceConfig, console: Console) -> None:
    """Reproduce and say what agrees."""
    found = reproduce(config, progress_printer(console))
    for line in found.changes:
        console.print(f"different from then: {line}", soft_wrap=True)
    differing = [metric for metric in found.metrics if metric.differences]
    if differing:
        _print_differing(console, differing)
    console.print(_verdict(config.run_id, found), soft_wrap=True)
    console.print(f"run {found.run_id}  {found.url}", soft_wrap=True)
    if found.first is None:
        console.print(f"next: {ui_command(config.home)} shows both runs, one below the other", soft_wrap=True)
        return
    console.print(f"first difference: {_shown(found.first)}", soft_wrap=True)
    ui = ui_command(config.home)
    console.print(f"next: reproduction.csv of the new run has all metrics; {ui} lays the two runs' curves over each other", soft_wrap=True)
    sys.exit(EXIT_CODE_NO)


def _print_differing(console: Console, differing: list[MetricDifferences]) -> None:
    table = Table(title="metrics that are not identical, largest difference first", title_justify="left")
    for heading in ("metric", "points", "largest", "first step"):
        table.add_column(heading, justify="left" if heading == "metric" else "right", no_wrap=heading != "metric", overflow="fold")
    for metric in sorted(differing, key=lambda metric: -metric.largest)[:NUM_ROWS]:
        points = f"{len(metric.differences):,} of {metric.num_points:,}"
        table.add_row(metric.metric, points, f"{metric.largest:.2g}", f"{metric.differences[0].step:,}")
    console.print(table)


def _verdict(run_id: str, found: Reproduction) -> str:
    points = sum(metric.num_points for metric in found.metrics)
    what = f"{len(found.metrics)} metrics with {points:,} points"
    wanted = "identical" if found.tolerance == 0 else f"within {found.tolerance:g}"
    beyond = [metric.beyond(found.tolerance) for metric in found.metrics]
    if found.agrees:
        return f"run {run_id} is reproduced: {what} are {found.result}"
    differences = f"{sum(map(len, beyond)):,} points of {sum(map(bool, beyond))} metrics differ"
    return f"run {run_id} is not reproduced: {what} should be {wanted}, {differences}"


def _shown(first: Difference) -> str:
    return f"{first.metric} at step {first.step:,}: {_value(first.old)} then, {_value(first.new)} now"


def _value(value: float | None) -> str:
    return "missing" if value is None else f"{value:.9g}"
