"""The table of docs/results.md: Base and DIN on real data, several seeds, mean ± std of the test metrics.

    python benchmarks/results.py FOLDER_WITH_THE_DATA HOME [data set ...]

Every run goes through the same code as ``pipelines/train.py`` and ``pipelines/evaluate.py`` and lies in the MLflow store below HOME. All
models of a data set share the settings below, chosen on the validation split. A run already in HOME/results.jsonl is not made again.
"""

import json
import statistics
import sys
from pathlib import Path

from clickflow.config import validate
from clickflow.metrics.ranking import rela_impr
from clickflow.runs.config import EvaluateConfig, RunConfig
from clickflow.runs.evaluate import evaluate
from clickflow.runs.train import train
from pipelines.launch import composed_config

SEEDS = (0, 1, 2)
SHARED = [
    "model.embedding_dim=32",
    "model.batch_norm=true",
    "model.activation=dice",
    "trainer.num_threads=1",
    "tracking.log_system_metrics=false",
]
MODELS = {
    "Base": ["model=base", "model.pooling=mean", "model.embedding_init_std=0.03"],
    "DIN sigmoid": ["model=din", "model.attention_softmax=true", "model.attention_activation=sigmoid"],
    "DIN PReLU": ["model=din", "model.attention_softmax=true", "model.attention_activation=prelu"],
    "DIN Dice": ["model=din", "model.attention_softmax=true", "model.attention_activation=dice"],
}
AMAZON = ["trainer.batch_size=256", "optimizer.learning_rate=0.004", "trainer.max_epochs=4", "trainer.patience=1"]
DATA = {
    "amazon_sports_5core": ["data=amazon_sports_5core", "data.path={folder}/amazon_sports_5core.parquet", *AMAZON],
    "amazon_beauty_5core": ["data=amazon_beauty_5core", "data.path={folder}/amazon_beauty_5core.parquet", *AMAZON],
    "movielens_1m": [
        "data=movielens_1m",
        "data.path={folder}/ml-1m.zip",
        "trainer.max_history=20",
        "optimizer.learning_rate=0.002",
        "trainer.max_epochs=2",
    ],
    "globo_clicks": [
        "data=globo_clicks",
        "data.path={folder}/globo_clicks.parquet",
        "trainer.max_history=10",
        "trainer.batch_size=4096",
        "optimizer.learning_rate=0.004",
        "trainer.max_epochs=1",
    ],
}


def run(name: str, model: str, seed: int, folder: Path, home: Path) -> dict[str, float]:
    """Train and evaluate once; the test metrics."""
    data = [override.format(folder=folder) for override in DATA[name]]
    overrides = [*data, *MODELS[model], *SHARED, f"seed={seed}", f"home={home}"]
    config_dir = str(Path(__file__).parent / "conf")
    config = validate(RunConfig, composed_config("train", overrides, config_dir))
    trained = train(config)
    test = evaluate(EvaluateConfig(run_id=trained.run_id, home=home, tracking=config.tracking))
    return {**test.metrics, "rows_per_second": trained.fit.rows_per_second, "best_epoch": trained.fit.best_epoch}


def row(model: str, results: list[dict[str, float]], base_auc: float) -> str:
    """One line of the table."""

    def cell(metric: str) -> str:
        values = [result[metric] for result in results]
        return f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}"

    improvement = rela_impr(statistics.mean(result["auc"] for result in results), base_auc)
    rate = statistics.mean(result["rows_per_second"] for result in results)
    cells = " | ".join(cell(metric) for metric in ("auc", "gauc", "pr_auc", "log_loss"))
    return f"| {model} | {cells} | {improvement:+.2%} | {rate:,.0f} |"


def main(folder: Path, home: Path, names: list[str]) -> None:
    """Make what is missing, then print a table a data set."""
    home.mkdir(parents=True, exist_ok=True)
    journal = home / "results.jsonl"
    for name in names:
        made = {}
        if journal.exists():
            lines = [json.loads(line) for line in journal.read_text().splitlines()]
            made = {(line["model"], line["seed"]): line["metrics"] for line in lines if line["data"] == name}
        for seed in SEEDS:
            for model in MODELS:
                if (model, seed) not in made:
                    made[model, seed] = metrics = run(name, model, seed, folder, home)
                    with journal.open("a") as file:
                        file.write(json.dumps({"data": name, "model": model, "seed": seed, "metrics": metrics}) + "\n")
        base_auc = statistics.mean(made["Base", seed]["auc"] for seed in SEEDS)
        print(f"\n### {name}\n\n| model | AUC | GAUC | PR-AUC | log loss | RelaImpr | training rows/s |\n|---|---|---|---|---|---|---|")
        for model in MODELS:
            print(row(model, [made[model, seed] for seed in SEEDS], base_auc), flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute(), sys.argv[3:] or list(DATA))
