"""Score a table: ``clickflow predict model=models:/ctr@champion input=rows.parquet output=scores.parquet``."""

if __name__ == "__main__":  # first of all: a wrong config is answered before anything heavy is imported
    from clickflow.cli.main import run

    run("predict")

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from clickflow.cli.row_bar import row_columns
from clickflow.scoring.config import PredictConfig
from clickflow.scoring.predict import predict


def main(config: PredictConfig, console: Console) -> None:
    """Score, and say where the result is."""
    terminal = Console(stderr=True)
    with Progress(*row_columns(), console=terminal, transient=True, disable=not terminal.is_terminal) as bar:
        task = bar.add_task("scoring", total=None)
        predicted = predict(
            config,
            lambda sentence: console.print(f"[dim]·[/] {escape(sentence)}", soft_wrap=True),
            lambda done, total: bar.update(task, completed=done, total=total),
        )
    again = predicted.num_rows - predicted.num_scored
    console.print(
        f"{predicted.num_rows:,} rows"
        + (f", {again:,} of them scored before" if again else "")
        + f", {predicted.rows_per_second:,.0f} rows/s"
    )
    output = escape(str(config.output))
    console.print(f"{predicted.num_output_rows:,} rows in {output}", soft_wrap=True)
    console.print(f"""next: [bold]python -c "import polars; print(polars.read_parquet('{output}'))"[/]""", soft_wrap=True)
