"""Score the test split with a run's best weights, or with a model: ``python pipelines/evaluate.py run_id=RUN`` or ``model=models:/…``."""

from rich.console import Console

from clickflow.cli.launch import launch, store_overrides
from clickflow.cli.result_tables import print_evaluation
from clickflow.runs.config import EvaluateConfig
from clickflow.runs.evaluate import evaluate


def main(config: EvaluateConfig, console: Console) -> None:
    """Evaluate and print metrics, slices, and how often the test split was opened."""
    evaluation = evaluate(config)
    print_evaluation(console, evaluation)
    console.print(f"all of it is in run {evaluation.run_id}, every slice in its slices/test.md", soft_wrap=True)
    where = "".join(f" {override}" for override in store_overrides(config.home, config.tracking))
    promote = f"python pipelines/promote.py name=ctr run_id={evaluation.run_id}{where}"
    console.print("next: [bold]make ui[/] lays its curves over those of other runs, and")
    console.print(f"  [bold]{promote}[/]\nmakes it the champion if it is the better one", soft_wrap=True)


if __name__ == "__main__":
    launch("evaluate", EvaluateConfig, main)
