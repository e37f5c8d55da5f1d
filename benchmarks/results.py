"""The tables of docs/results.md: every model tuned under one budget on the validation split, then compared on the test split.

    python benchmarks/results.py FOLDER_WITH_THE_DATA HOME DATA_SET [...]

1. Tuning on the smaller data set of each kind: each model gets the same number of trials with seed 0, on Amazon Beauty every combination of
   `LEARNING_RATES` and its two `CHOICES`, on MovieLens by rating the learning rates with the first choice. The best by validation GAUC is
   kept, for the larger data set of that kind too (`TUNED_ON`); all figures go to HOME/tuning_DATA_SET.json.
2. The chosen settings are trained with the other seeds.
3. `pipelines/compare.py` collects these runs, evaluates them and makes the table; its command is printed.

Two processes of one thread each share the machine. Finished runs are not repeated.
"""

import itertools
import json
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import yaml

from clickflow.cli.compose import composed_config
from clickflow.config import validate
from clickflow.runs.config import RunConfig
from clickflow.runs.logged_config import config_digest
from clickflow.runs.train import train
from clickflow.tracking.names import CONFIG_DIGEST_TAG
from clickflow.tracking.search import find_runs
from clickflow.tracking.store import open_store

SEEDS = (0, 1, 2)
LEARNING_RATES = (0.001, 0.004)
TOWER = ["model.activation=prelu", "model.embedding_dim={dim}", "model.batch_norm=true"]
DIN = ["model=din", "model.attention_activation=prelu", *TOWER]
POOLING = ("model.pooling=mean", "model.pooling=sum")
SOFTMAX = ("model.attention_softmax=true", "model.attention_softmax=false")
MODELS = {
    "LR": ["model=lr"],
    "Base": ["model=base", *TOWER],
    "Wide & Deep": ["model=wide_deep", *TOWER],
    "PNN": ["model=pnn", *TOWER],
    "DeepFM": ["model=deepfm", *TOWER],
    "DIN difference": [*DIN, "model.attention_input=difference"],
    "DIN outer": [*DIN, "model.attention_input=outer"],
    "DIN product": [*DIN, "model.attention_input=product"],
    "DIN with Dice": [*DIN, "model.activation=dice", "model.attention_activation=dice"],
    "DIEN": ["model=dien", *TOWER],
}
CHOICES = {label: SOFTMAX if label.startswith("DIN") else POOLING for label in MODELS} | {
    "DIEN": ("model.auxiliary_weight=1.0", "model.auxiliary_weight=0.3")
}
SHARED = ["trainer.num_threads=1", "trainer.progress_bar=false", "tracking.log_system_metrics=false", "trainer.patience=1"]
AMAZON = ["trainer.batch_size=512", "trainer.max_epochs=4"]
MOVIELENS = ["data=movielens_1m", "data.path={folder}/ml-1m.zip", "trainer.batch_size=1024"]
DATA = {
    "amazon_sports_5core": ["data=amazon_sports_5core", "data.path={folder}/amazon_sports_5core.parquet", *AMAZON],
    "amazon_beauty_5core": ["data=amazon_beauty_5core", "data.path={folder}/amazon_beauty_5core.parquet", *AMAZON],
    "movielens_1m_rating": [*MOVIELENS, "protocol=rating", "trainer.max_epochs=1", "trainer.max_history=20"],
    "movielens_1m_next_item": [*MOVIELENS, "protocol=next_item", "trainer.max_epochs=1", "trainer.max_history=10"],
}
TUNED_ON = {
    "amazon_sports_5core": "amazon_beauty_5core",
    "amazon_beauty_5core": "amazon_beauty_5core",
    "movielens_1m_rating": "movielens_1m_rating",
    "movielens_1m_next_item": "movielens_1m_rating",
}
CONF = Path(__file__).parent / "conf"


def train_once(overrides: list[str]) -> float:
    """Validation GAUC of the run with these overrides, which is trained if the store lacks it."""
    config = validate(RunConfig, composed_config("train", overrides, str(CONF)))
    store = open_store(config.tracking, config.home)
    if not find_runs(store, {CONFIG_DIGEST_TAG: config_digest(config)}, "FINISHED"):
        train(config)
    return find_runs(store, {CONFIG_DIGEST_TAG: config_digest(config)}, "FINISHED")[0].metrics["best/gauc"]


def main(folder: Path, home: Path, names: list[str]) -> None:
    """Tune, train and tabulate each data set."""
    home.mkdir(parents=True, exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in names:
        shared, of_tuning = ([o.format(folder=folder) for o in DATA[data]] + [*SHARED, f"home={home}"] for data in (name, TUNED_ON[name]))
        with ProcessPoolExecutor(2, get_context("spawn")) as pool:
            chosen = tune(pool, home / f"tuning_{TUNED_ON[name]}.json", of_tuning, trials_of_models(TUNED_ON[name]))
            jobs = [[*shared, *overrides, f"seed={seed}"] for seed in SEEDS for overrides in chosen.values()]
            list(pool.map(train_once, jobs))
        table(home, name, shared, chosen)


def trials_of_models(data: str) -> dict[str, list[list[str]]]:
    """Overrides of every trial, by label of the model."""
    dim = 16 if data.startswith("movielens") else 32
    trials = {}
    for label, own in MODELS.items():
        grid = itertools.product(LEARNING_RATES, CHOICES[label] if data == "amazon_beauty_5core" else CHOICES[label][:1])
        trials[label] = [[*(o.format(dim=dim) for o in own), f"optimizer.learning_rate={rate}", choice] for rate, choice in grid]
    return trials


def tune(pool: ProcessPoolExecutor, journal: Path, shared: list[str], trials: dict[str, list[list[str]]]) -> dict[str, list[str]]:
    """Overrides of each model's best trial."""
    jobs = [(label, overrides) for label in reversed(MODELS) for overrides in trials[label]]  # slowest models first
    values = dict(zip(map(str, jobs), pool.map(train_once, [[*shared, *overrides, "seed=0"] for _, overrides in jobs]), strict=True))
    figures = {
        label: {" ".join(overrides): values[str((label, overrides))] for overrides in of_model} for label, of_model in trials.items()
    }
    journal.write_text(json.dumps(figures, indent=1))
    return {label: max(of_model, key=lambda overrides: values[str((label, overrides))]) for label, of_model in trials.items()}


def table(home: Path, name: str, shared: list[str], chosen: dict[str, list[str]]) -> None:
    """Compare the chosen settings through the pipeline."""
    experiment = home / "conf" / "experiment" / f"{name}.yaml"
    experiment.parent.mkdir(parents=True, exist_ok=True)
    content = {"compare": {"base": "Base", "seeds": list(SEEDS), "models": chosen, "published": {}}}
    experiment.write_text("# @package _global_\n" + yaml.safe_dump(content, sort_keys=False))
    (home / "conf" / "data").mkdir(exist_ok=True)
    for path in (CONF / "data").glob("*.yaml"):
        (home / "conf" / "data" / path.name).write_text(path.read_text())
    command = ["pipelines/compare.py", "--config-dir", str(home / "conf"), f"experiment={name}", *shared]
    print("python " + " ".join(command), flush=True)
    subprocess.run([sys.executable, *command], check=True, cwd=Path(__file__).parents[1])


if __name__ == "__main__":
    if len(sys.argv) < 4 or set(sys.argv[3:]) - set(DATA):
        sys.exit(f"{__doc__}\nDATA_SET: {', '.join(DATA)}")
    main(Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute(), sys.argv[3:])
