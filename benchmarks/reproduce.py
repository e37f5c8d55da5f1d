"""Bit-by-bit reproduction of runs of different models.

    python benchmarks/reproduce.py                        # five models, two threads
    python benchmarks/reproduce.py --rows 20000 --threads 1

Each model is trained, evaluated on the test split, and then reproduced in another process with another hash seed and another default
number of torch threads (the run records the number it was trained with). Dropout, Dice and DIEN's drawn negatives are on. The output
shows how many metrics and points were compared and how many of them differ; the exit code is 3 if any does.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from clickflow.cli.compose import composed_config
from clickflow.cli.search_path import REPOSITORY
from clickflow.config import validate
from clickflow.errors import EXIT_CODE_NO
from clickflow.runs.config import EvaluateConfig, RunConfig
from clickflow.runs.evaluate import evaluate
from clickflow.runs.train import train

MODELS = {
    "base": ["model.dropout=0.2"],
    "din": ["model.activation=dice", "model.attention_activation=dice"],
    "dien": ["model.dropout=0.2"],
    "deepfm": ["schedule=exponential"],
    "pnn": ["optimizer=adagrad", "regularisation=mini_batch_aware", "optimizer.learning_rate=0.02"],
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=3)
    arguments = parser.parse_args()
    print(f"{arguments.rows:,} impressions, {arguments.epochs} epochs, {arguments.threads} threads")
    print(f"{'model':8}{'val GAUC':>10}{'train s':>9}  reproduced")
    torch.set_num_threads(arguments.threads)
    agree = True
    with tempfile.TemporaryDirectory() as folder:
        for model, overrides in MODELS.items():
            agree &= reproduced(Path(folder), model, overrides, arguments)
    sys.exit(0 if agree else EXIT_CODE_NO)


def reproduced(home: Path, model: str, overrides: list[str], arguments: argparse.Namespace) -> bool:
    values = composed_config(
        "train",
        [
            f"home={home}",
            f"model={model}",
            f"data.num_impressions={arguments.rows}",
            f"trainer.max_epochs={arguments.epochs}",
            "trainer.progress_bar=false",
            "tracking.log_system_metrics=false",
            *overrides,
        ],
    )
    config = validate(RunConfig, values)
    trained = train(config)
    evaluate(EvaluateConfig(run_id=trained.run_id, home=home, tracking=config.tracking))
    command = [sys.executable, str(REPOSITORY / "pipelines/reproduce.py"), f"run_id={trained.run_id}", f"home={home}"]
    elsewhere = os.environ | {"OMP_NUM_THREADS": str(arguments.threads + 1)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=elsewhere)
    verdict = [line for line in done.stdout.splitlines() if "reproduced" in line or line.startswith("first difference")]
    print(f"{model:8}{trained.validation['gauc']:10.4f}{trained.fit.seconds:9.1f}  {'; '.join(verdict) or done.stderr.strip()}", flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    main()
