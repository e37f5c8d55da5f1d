"""``make demo``: generate a click log, train Base and DIN on it, compare them on the test split, promote the better one, score."""

if __name__ == "__main__":  # first of all: a wrong config is answered before anything heavy is imported
    from clickflow.cli.main import run

    run("demo")

import time
from typing import Any

import numpy as np
from rich.console import Console

from clickflow.cli.next_command import progress_printer, ui_command
from clickflow.cli.result_tables import print_dataset, timed_prepare
from clickflow.cli.tables import print_table
from clickflow.data.dataset import PreparedDataset
from clickflow.data.raw_rows import raw_rows
from clickflow.errors import ConfigError
from clickflow.metrics.headings import HEADINGS, PRINCIPAL
from clickflow.metrics.ranking import rela_impr
from clickflow.models.config import BaseConfig, TowerConfig
from clickflow.pipelines.promote import print_outcome
from clickflow.promotion.config import PromoteConfig
from clickflow.promotion.promote import promote
from clickflow.runs.config import EvaluateConfig, RunConfig
from clickflow.runs.evaluate import evaluate
from clickflow.runs.train import TrainedRun, train
from clickflow.tracking.logged_model import load_model
from clickflow.tracking.store import open_store

ROWS_SCORED = 5
IDS_SHOWN = 5


def main(config: RunConfig, console: Console) -> None:
    """Prepare, train both, evaluate both, print one table, promote the better one, score with it."""
    if config.model.name == "base":
        raise ConfigError("model.name = base: the demo compares Base with another model; leave it at din.")
    progress = progress_printer(console)
    start = time.perf_counter()
    dataset, seconds = timed_prepare(config, console)
    print_dataset(console, dataset, seconds)
    tower = {name: getattr(config.model, name) for name in TowerConfig.model_fields if hasattr(config.model, name)}
    results = []
    for model in (BaseConfig(**tower), config.model):  # alike but for the pooling
        trained = train(config.model_copy(update={"model": model}), progress)
        progress(f"evaluating {model.name} on the test split")
        test = evaluate(EvaluateConfig(run_id=trained.run_id, home=config.home, tracking=config.tracking))
        results.append((trained, test.scored.metrics))
    _print_comparison(console, results)
    better = max((trained for trained, _ in results), key=lambda trained: trained.validation["gauc"])
    # A name for each data set, since only models of the same data can take each other's place.
    name = f"demo-{dataset.manifest.fingerprint[:6]}"
    promotion = PromoteConfig(name=name, run_id=better.run_id, home=config.home, tracking=config.tracking)
    print_outcome(console, promotion, promote(promotion, progress))
    _score(console, promotion, dataset)
    console.print(
        f"{time.perf_counter() - start:.0f} s in all. next: {ui_command(config.home)} shows both runs, their curves and models",
        soft_wrap=True,
    )


def _print_comparison(console: Console, results: list[tuple[TrainedRun, dict[str, float]]]) -> None:
    rows = []
    base_auc = results[0][1]["auc"]
    for trained, metrics in results:
        row = {"model": str(trained.config.model.name), **{HEADINGS[name]: f"{metrics[name]:.4f}" for name in PRINCIPAL}}
        row["RelaImpr"] = f"{rela_impr(metrics['auc'], base_auc):+.1%}" if base_auc > 0.5 else "–"
        rows.append(row | {"rows/s": f"{trained.fit.rows_per_second:,.0f}"})
    if "oracle_auc" in results[0][1]:  # only the generated log knows its true click probabilities
        rows.append({"model": "best possible", HEADINGS["auc"]: f"{results[0][1]['oracle_auc']:.4f}"})
    print_table(console, "test split", rows, left=["model"])


def _score(console: Console, promotion: PromoteConfig, dataset: PreparedDataset) -> None:
    """Print the champion's predictions for a few rows, asked for as any caller would."""
    uri = f"models:/{promotion.name}@champion"
    spread = np.linspace(0, dataset.manifest.splits["validation"].rows - 1, ROWS_SCORED).astype(np.int64)
    rows = raw_rows(dataset, "validation", spread)
    model: Any = load_model(open_store(promotion.tracking, promotion.home), uri)
    past, cells = f"history, its last {IDS_SHOWN} items", []
    for item, history, probability in zip(rows["item"], rows["history"], model.predict(rows)["probability"], strict=True):
        shown = ", ".join(str(identifier) for identifier in history[-IDS_SHOWN:])
        shown = f"{'… ' if len(history) > IDS_SHOWN else ''}{shown or '(none)'}"
        cells.append({"item": str(item), past: shown, "probability": f"{probability:.4f}"})
    print_table(console, f"click probabilities by {uri}", cells, left=[past])
