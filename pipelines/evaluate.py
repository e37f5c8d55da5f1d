"""Score the test split with a run's best weights, or with a model: ``clickflow evaluate run_id=RUN`` or ``model=models:/…``."""

if __name__ == "__main__":  # first of all: a wrong config is answered before anything heavy is imported
    from clickflow.cli.main import run

    run("evaluate")

from rich.console import Console

from clickflow.cli.next_command import next_command, ui_command
from clickflow.cli.result_tables import print_evaluation
from clickflow.runs.config import EvaluateConfig
from clickflow.runs.evaluate import evaluate


def main(config: EvaluateConfig, console: Console) -> None:
    """Evaluate and print metrics, slices, and how often the test split was opened."""
    evaluation = evaluate(config)
    print_evaluation(console, evaluation)
    console.print(f"all of it is in run {evaluation.run_id}, every slice in its slices/test.md", soft_wrap=True)
    promote = next_command("promote", config.home, config.tracking, name="ctr", run_id=evaluation.run_id)
    console.print(f"lay its curves over those of other runs:\n  {ui_command(config.home)}", soft_wrap=True)
    console.print(f"make it the champion, if it is better:\n  {promote}", soft_wrap=True)
