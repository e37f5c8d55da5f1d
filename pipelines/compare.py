"""The papers' table on any data set: ``clickflow compare data=movielens_1m`` or ``experiment=din_paper_electronics``."""

if __name__ == "__main__":  # first of all: a wrong config is answered before anything heavy is imported
    from clickflow.cli.main import run

    run("compare")

from rich.console import Console

from clickflow.cli.comparison_configs import PreparedComparison
from clickflow.cli.next_command import progress_printer, ui_command
from clickflow.cli.tables import print_table
from clickflow.runs.compare import compare
from clickflow.runs.comparison import quality_columns, significance_columns

WIDTH = 160
"""Columns that both tables fit into."""


def main(prepared: PreparedComparison, console: Console) -> None:
    """Train or collect every model, and print the table."""
    config = prepared.config
    comparison = compare(config, prepared.models, progress_printer(console))
    title = f"{config.data.name}, protocol {config.protocol.name}, test split, mean ± std over seeds"
    print_table(console, title, map(quality_columns, comparison.results), left=["model"], width=WIDTH)
    title = (
        f"against {config.compare.base} on the same test rows (DeLong clustered by user for AUC, bootstrap over users for GAUC), and costs"
    )
    print_table(console, title, map(significance_columns, comparison.results), left=["model"], width=WIDTH)
    console.print(f"run {comparison.run_id}  {comparison.url}", soft_wrap=True)
    console.print(f"table.csv, table.md and figures in {comparison.folder}", soft_wrap=True)
    if config.tracking.uri is None:
        console.print(f"next: {ui_command(config.home)} shows the comparison and its runs", soft_wrap=True)
