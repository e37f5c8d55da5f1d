"""``make demo``: generate a click log, train Base and DIN on it, compare them on the test split."""

import time

from rich.console import Console
from rich.table import Table

from clickflow.errors import ConfigError
from clickflow.metrics.ranking import rela_impr
from clickflow.models.base import BaseConfig, TowerConfig
from clickflow.runs.config import EvaluateConfig, RunConfig
from clickflow.runs.evaluate import evaluate
from clickflow.runs.train import TrainedRun, train
from pipelines.launch import launch, progress_printer
from pipelines.tables import print_dataset, timed_prepare


def story(config: RunConfig, console: Console) -> None:
    """Prepare, train both, evaluate both, print one table."""
    if config.model.name == "base":
        raise ConfigError("model.name = base: the demo compares Base with another model; leave it at din.")
    progress = progress_printer(console)
    start = time.perf_counter()
    print_dataset(console, *timed_prepare(config, console))
    tower = {name: getattr(config.model, name) for name in TowerConfig.model_fields if hasattr(config.model, name)}
    results = []
    for model in (BaseConfig(**tower), config.model):  # alike but for the pooling
        trained = train(config.model_copy(update={"model": model}), progress)
        progress(f"evaluating {model.name} on the test split")
        test = evaluate(EvaluateConfig(run_id=trained.run_id, home=config.home, tracking=config.tracking))
        results.append((trained, test.scored.metrics))
    _print_comparison(console, results)
    console.print(
        f"{time.perf_counter() - start:.0f} s in all. next: [bold]make ui[/] shows both runs, their curves and models", soft_wrap=True
    )


def _print_comparison(console: Console, results: list[tuple[TrainedRun, dict[str, float]]]) -> None:
    table = Table(title="test split", title_justify="left")
    for heading in ("model", "AUC", "GAUC", "PR-AUC", "log loss", "RelaImpr", "rows/s"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    base_auc = results[0][1]["auc"]
    for trained, metrics in results:
        values = [f"{metrics[name]:.4f}" for name in ("auc", "gauc", "pr_auc", "log_loss")]
        improvement = f"{rela_impr(metrics['auc'], base_auc):+.1%}" if base_auc > 0.5 else "–"
        table.add_row(trained.config.model.name, *values, improvement, f"{trained.fit.rows_per_second:,.0f}")
    if "oracle_auc" in results[0][1]:  # only the generated log knows its true click probabilities
        table.add_row("best possible", f"{results[0][1]['oracle_auc']:.4f}")
    console.print(table)


if __name__ == "__main__":
    launch("demo", RunConfig, story)
