"""Score the test split with a run's best weights: ``python pipelines/evaluate.py run_id=RUN``."""

from rich.console import Console

from clickflow.runs.config import EvaluateConfig
from clickflow.runs.evaluate import evaluate
from pipelines.launch import launch
from pipelines.tables import print_metrics


def story(config: EvaluateConfig, console: Console) -> None:
    """Evaluate and print the test metrics."""
    evaluation = evaluate(config)
    print_metrics(console, f"run {evaluation.run_id}, test", evaluation.scored.metrics)
    times, runs = evaluation.openings.times, evaluation.openings.runs
    console.print(f"the test split of this data set has been opened {times:,} times, by {runs:,} runs", soft_wrap=True)
    console.print("next: [bold]make ui[/] to lay its curves over those of other runs")


if __name__ == "__main__":
    launch("evaluate", EvaluateConfig, story)
