"""Batch scoring with ``pipelines/predict.py``, Parquet to Parquet: rows/s and peak memory.

    python benchmarks/scoring.py [rows …] [--texts] [--users N] [--repetitions N]

DIN in the shape of Amazon Electronics: 63,001 items, 801 categories, dims 32 + 32, attention 80-40, MLP 80-40, Dice, mean history 9 capped
at 100. The model is logged to a store and the rows are streamed to a file beforehand; each measurement is a process of its own, as a user
starts it. ``--texts`` makes the ids of items texts; ``--users`` sets a number of users and scores 1,000 candidates for each.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from clickflow.data.schema import CategoricalField, Schema
from clickflow.models.config import DINConfig
from clickflow.serving.bundle import ServingBundle
from clickflow.tracking.config import TrackingConfig
from clickflow.tracking.lifecycle import open_run
from clickflow.tracking.logged_model import log_model
from clickflow.tracking.store import open_store

ROOT = Path(__file__).resolve().parents[1]
NUM_ITEMS, NUM_CATEGORIES, MEAN_HISTORY, MAX_HISTORY = 63_001, 801, 9, 100
NUM_CANDIDATES, TOP_K = 1_000, 10
ROWS_PER_BLOCK = 100_000


def ids(items: np.ndarray, as_texts: bool) -> pa.Array:
    """Raw ids of items; texts look like Amazon's ids."""
    integers = pa.array(items)
    return pa.compute.binary_join_element_wise("B", pa.compute.utf8_lpad(integers.cast(pa.string()), 9, "0"), "") if as_texts else integers


def log_din(home: Path, as_texts: bool) -> str:
    """Log a DIN with random weights as training logs it and return its URI."""
    schema = Schema(
        categorical=(
            CategoricalField(name="item", role="item", vocabulary_size=NUM_ITEMS + 1),
            CategoricalField(name="category", role="item", vocabulary_size=NUM_CATEGORIES + 1),
        )
    )
    torch.manual_seed(0)
    config = DINConfig(embedding_dim=32, attention_hidden_units=(80, 40), hidden_units=(80, 40))
    rows = np.arange(NUM_ITEMS + 1)
    raw = pa.concat_arrays([pa.nulls(1, ids(rows[:1], as_texts).type), ids(rows[1:], as_texts)])
    items = pa.table({"raw": raw, "index/item": rows.astype(np.int32), "index/category": (rows % (NUM_CATEGORIES + 1)).astype(np.int32)})
    bundle = ServingBundle(config.model_dump(mode="json"), schema, MAX_HISTORY, config.build(schema).state_dict(), items, {})
    store = open_store(TrackingConfig(experiment_name="scoring"), home)
    with open_run(store, name="din", params={}, tags={}, log_system_metrics=False) as run:
        return log_model(run, bundle)


def write_rows(path: Path, num_rows: int, as_texts: bool) -> None:
    """Write rows of random users, items and histories of geometric length, block by block."""
    rng = np.random.default_rng(1)
    writer = None
    for start in range(0, num_rows, ROWS_PER_BLOCK):
        size = min(ROWS_PER_BLOCK, num_rows - start)
        lengths = np.minimum(rng.geometric(1 / (MEAN_HISTORY + 1), size) - 1, MAX_HISTORY)
        offsets = pa.array(np.concatenate([[0], lengths.cumsum()]).astype(np.int32))
        history = pa.ListArray.from_arrays(offsets, ids(rng.integers(1, NUM_ITEMS + 1, lengths.sum()), as_texts))
        item = ids(rng.integers(1, NUM_ITEMS + 1, size), as_texts)
        table = pa.table({"user": rng.integers(0, 10**6, size), "item": item, "history": history})
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def measure(home: Path, model: str, table: Path, *arguments: str) -> str:
    """Score a table in a process of its own and return the speed that it prints and its peak memory."""
    output = table.with_name("scores.parquet")
    command = [sys.executable, "pipelines/predict.py", f"model={model}", f"input={table}", f"output={output}", f"home={home}", *arguments]
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, text
    output.unlink()
    found = re.search(r"([\d,]+) rows/s", text)
    assert found is not None, text
    cpu = usage.ru_utime + usage.ru_stime
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{found[1]:>9} rows/s, peak memory {usage.ru_maxrss / 1024:,.0f} MiB, CPU {cpu:.1f} s, load {load}"


def main() -> None:
    """Write, score and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", type=int, nargs="*", default=[1_000_000, 10_000_000])
    parser.add_argument("--texts", action="store_true")
    parser.add_argument("--users", type=int)
    parser.add_argument("--repetitions", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = log_din(folder / "home", options.texts)
        more: list[str] = []
        if options.users:
            pq.write_table(pa.table({"item": ids(np.arange(1, NUM_CANDIDATES + 1), options.texts)}), folder / "items.parquet")
            more = [f"candidates={folder / 'items.parquet'}", f"top_k={TOP_K}", "keep=[user]"]
        for num_rows in [options.users] if options.users else options.rows:
            table = folder / "rows.parquet"
            write_rows(table, num_rows, options.texts)
            for _ in range(options.repetitions):
                print(f"{num_rows:>10,} rows: {measure(folder / 'home', model, table, *more)}", flush=True)


if __name__ == "__main__":
    main()
