"""Score the test split with a run's best weights, or with a model: ``python pipelines/evaluate.py run_id=RUN`` or ``model=models:/…``."""

from rich.console import Console

from clickflow.runs.config import EvaluateConfig
from clickflow.runs.evaluate import evaluate
from pipelines.launch import launch
from pipelines.tables import print_evaluation


def story(config: EvaluateConfig, console: Console) -> None:
    """Evaluate and print metrics, slices, and how often the test split was opened."""
    evaluation = evaluate(config)
    print_evaluation(console, evaluation)
    console.print(f"all of it is in run {evaluation.run_id}, every slice in its slices/test.md", soft_wrap=True)
    console.print("next: [bold]make ui[/] to lay its curves over those of other runs")


if __name__ == "__main__":
    launch("evaluate", EvaluateConfig, story)
