"""Latency of one user's 200 candidates through the whole served model in process, in one row that lists them or one row per candidate.

    python -m benchmarks.latency [requests]

The model is DIN in the shape of ``benchmarks/train.py`` (63,001 items, 801 categories, width 32 + 32, attention 80-40) with random
weights, since the time does not depend on their values. A request is a frame as MLflow's server makes it from JSON; the time includes
everything after that: MLflow's check of the schema, the look-up of raw ids, the model, the answer. Both forms and all lengths take turns;
each request is drawn anew.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from clickflow.data.schema import CategoricalField, Schema
from clickflow.models.config import DINConfig
from clickflow.serving.bundle import ServingBundle
from clickflow.tracking.logged_model import save_model

NUM_ITEMS, NUM_CATEGORIES = 63_001, 801
NUM_CANDIDATES = 200
LENGTHS = (9, 100)
CONFIG = DINConfig(embedding_dim=32, attention_hidden_units=(80, 40), hidden_units=(80, 40))
WARM_UP = 20


def random_bundle() -> ServingBundle:
    """An untrained model over raw ids 1 ... 63,001 in any order."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    schema = Schema(
        categorical=(
            CategoricalField(name="item", role="item", vocabulary_size=NUM_ITEMS + 1),
            CategoricalField(name="category", role="item", vocabulary_size=NUM_CATEGORIES + 1),
        )
    )
    items = pa.table(
        {
            "raw": pa.array([None, *rng.permutation(np.arange(1, NUM_ITEMS + 1)).tolist()], pa.int64()),
            "index/item": np.arange(NUM_ITEMS + 1, dtype=np.int32),
            "index/category": np.append(0, rng.integers(1, NUM_CATEGORIES + 1, NUM_ITEMS)).astype(np.int32),
        }
    )
    return ServingBundle(CONFIG.model_dump(mode="json"), schema, max(LENGTHS), CONFIG.build(schema).state_dict(), items, {})


def request(rng: np.random.Generator, length: int, *, as_list: bool) -> list[dict[str, Any]]:
    """The rows of one user with 200 candidates."""
    candidates, history = (rng.integers(1, NUM_ITEMS + 1, size).tolist() for size in (NUM_CANDIDATES, length))
    if as_list:
        return [{"item": candidates, "history": history}]
    return [{"item": item, "history": history} for item in candidates]


def main(num_requests: int) -> None:
    """Measure and print each form and length."""
    with tempfile.TemporaryDirectory() as folder:
        save_model(random_bundle(), Path(folder) / "model")
        model = mlflow.pyfunc.load_model(str(Path(folder) / "model"))
    rng = np.random.default_rng(1)
    kinds = [(length, as_list) for length in LENGTHS for as_list in (True, False)]
    milliseconds: dict[tuple[int, bool], list[float]] = {kind: [] for kind in kinds}
    for number in range(WARM_UP + num_requests):
        for length, as_list in kinds:
            frame = pd.DataFrame(request(rng, length, as_list=as_list))
            start = time.perf_counter()
            model.predict(frame)
            if number >= WARM_UP:
                milliseconds[length, as_list].append(1000 * (time.perf_counter() - start))
    print(f"{torch.get_num_threads()} threads, {num_requests:,} requests of {NUM_CANDIDATES} candidates each")
    for (length, as_list), values in milliseconds.items():
        p50, p99 = np.quantile(values, [0.5, 0.99])
        print(f"history {length:3}, {'one row' if as_list else 'one row per candidate':23}: p50 {p50:6.2f} ms, p99 {p99:6.2f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
