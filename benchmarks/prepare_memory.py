"""Peak memory and speed of preparing generated click logs of several sizes, and of training on what was prepared.

    python -m benchmarks.prepare_memory --rows 10_000_000 100_000_000 --folder FOLDER [--protocols impressions next_item] [--train]

The logs are Parquet files with skewed users and items, in order of time, with an item field, a context field and a number. Each is written
once to FOLDER and stays there; what was prepared is removed. Each figure comes from a process of its own. Mapped files count as resident
memory as long as the system has room for them, so the peak of the anonymous memory stands beside that of all memory.
"""

import argparse
import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

BLOCK_ROWS = 1_000_000
ROWS_PER_USER, NUM_ITEMS, NUM_CATEGORIES = 50, 500_000, 997
START_SECONDS, DAYS = 1_735_689_600, 30
SAMPLE_SECONDS = 0.02
MIB = 1 << 20
TRAIN_STEPS = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000_000])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--protocols", nargs="+", default=["impressions", "next_item"])
    parser.add_argument("--train", action="store_true", help="also train DIN for a few steps on what was prepared")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        action, protocol, rows = options.measure
        print(json.dumps(MEASURES[action](options.folder, protocol, int(rows))))
        return
    for protocol in options.protocols:
        seconds_per_row = []
        for rows in options.rows:
            in_own_process(options.folder, "generate", protocol, rows)
            figures = in_own_process(options.folder, "prepare", protocol, rows)
            seconds_per_row.append(figures["seconds"] / rows)
            cpu = f"CPU {figures['user_seconds']:.1f} s user, {figures['system_seconds']:.1f} s system"
            print(f"{protocol}, {rows:,} rows: {figures['seconds']:.1f} s ({cpu}), {rows / figures['seconds']:,.0f} rows/s, ", end="")
            print(f"{memory(figures)}, {figures['mib']:,.0f} MiB prepared, load {os.getloadavg()[0]:.1f}", flush=True)
            if options.train:
                print(f"  {TRAIN_STEPS} steps of DIN: {memory(in_own_process(options.folder, 'train', protocol, rows))}", flush=True)
            shutil.rmtree(options.folder / "home")
        if len(seconds_per_row) > 1:
            ratio = seconds_per_row[-1] / seconds_per_row[0]
            print(f"{protocol}: a row of the last log costs {ratio:.2f} times one of the first")


def memory(figures: dict[str, Any]) -> str:
    return f"peak {figures['peak_mib']:,.0f} MiB resident, {figures['anonymous_mib']:,.0f} MiB anonymous"


def in_own_process(folder: Path, *arguments: object) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.prepare_memory", "--folder", folder, "--measure", *arguments]
    return json.loads(subprocess.run([*map(str, command)], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def log_path(folder: Path, rows: int) -> Path:
    return folder / f"clicks_{rows}.parquet"


def generate(folder: Path, protocol: str, rows: int) -> dict[str, Any]:
    """Write the log block by block, if it is not there."""
    path = log_path(folder, rows)
    if path.exists():
        return {}
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    writer = None
    for start in range(0, rows, BLOCK_ROWS):
        table = block(start, min(BLOCK_ROWS, rows - start), rows)
        writer = writer or parquet.ParquetWriter(part, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()
    part.rename(path)
    return {}


def block(start: int, size: int, rows: int) -> pa.Table:
    """Some rows of a log: the n-th most active user has about n^-1/2 of the most active one's rows, of items n^-2/3."""
    rng = np.random.default_rng(start)
    num_users = max(1, rows // ROWS_PER_USER)
    user = scattered((num_users * rng.random(size) ** 2).astype(np.int64), num_users)
    item = scattered((NUM_ITEMS * rng.random(size) ** 3).astype(np.int64), NUM_ITEMS)
    moment = np.sort(start + rng.integers(0, size, size)) * (DAYS * 86_400) // rows
    return pa.table(
        {
            "user_id": user + 10_000_000,
            "item_id": item + 1_000,
            "timestamp": START_SECONDS + moment,
            "clicked": (rng.random(size) < 0.15).astype(np.int8),
            "category": (item % NUM_CATEGORIES).astype(np.int32),
            "device": pa.array(np.array(["phone", "tablet", "desktop", "tv"])[rng.integers(0, 4, size)]),
            "position": rng.integers(1, 21, size).astype(np.float32),
        }
    )


def scattered(rank: np.ndarray, size: int) -> np.ndarray:
    """Ids in an order that has nothing to do with their frequency."""
    return rank * 7_919 % size if size % 7_919 else rank


def prepare_log(folder: Path, protocol: str, rows: int) -> dict[str, Any]:
    from clickflow.data.prepare import prepare

    data, rules = configs(folder, protocol, rows)
    watch = Watch()
    dataset = prepare(data, rules, folder / "home")
    return watch.figures() | {"mib": dataset.num_bytes / MIB}


def train_on_log(folder: Path, protocol: str, rows: int) -> dict[str, Any]:
    """Train DIN for some steps on what was prepared, through Lightning as the command does."""
    from clickflow.data.prepare import prepare
    from clickflow.models.din import DINConfig
    from clickflow.training.config import AdamConfig, TrainerConfig
    from clickflow.training.fit import fit
    from clickflow.training.watching import Pruned

    class EndSoon:
        """Ends the fit after some steps."""

        steps = 0

        def after_step(self, epochs: float, rows_per_second: float) -> None:
            self.steps += 1
            if self.steps == TRAIN_STEPS:
                raise Pruned

        def after_validation(self, number: int, metrics: Mapping[str, float]) -> None:
            pass

    dataset = prepare(*configs(folder, protocol, rows), folder / "home")
    watch = Watch()
    model = DINConfig(embedding_dim=16).build(dataset.schema)
    trainer = TrainerConfig(progress_bar=False)
    with contextlib.suppress(Pruned):
        fit(
            model,
            dataset,
            trainer,
            AdamConfig(),
            seed=0,
            folder=folder / "home" / "fit",
            sink=lambda metrics, step: None,
            watcher=EndSoon(),
        )
    return watch.figures()


def configs(folder: Path, protocol: str, rows: int) -> tuple[Any, Any]:
    from clickflow.config import validate
    from clickflow.data.protocols import ImpressionsConfig, NextItemConfig
    from clickflow.data.sources.log import LogConfig

    columns = {"user": "user_id", "item": "item_id", "timestamp": "timestamp"}
    values = {
        "name": "generated",
        "source": "log",
        "path": str(log_path(folder, rows)),
        "columns": columns | ({"label": "clicked"} if protocol == "impressions" else {}),
        "item_fields": {"category": {"column": "category"}},
        "context_fields": {"device": {"column": "device"}, "position": {"column": "position", "kind": "numeric"}},
    }
    return validate(LogConfig, values), {"impressions": ImpressionsConfig, "next_item": NextItemConfig}[protocol]()


class Watch:
    """Wall and CPU seconds and the peaks of memory since it was made."""

    def __init__(self) -> None:
        self.before, self.start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        self.anonymous_kib = 0
        threading.Thread(target=self._sample, daemon=True).start()

    def _sample(self) -> None:
        while True:
            text = Path("/proc/self/status").read_text()
            self.anonymous_kib = max(self.anonymous_kib, int(text.partition("RssAnon:")[2].split()[0]))
            time.sleep(SAMPLE_SECONDS)

    def figures(self) -> dict[str, Any]:
        """Costs of the work so far."""
        seconds, after = time.perf_counter() - self.start, resource.getrusage(resource.RUSAGE_SELF)
        return {
            "seconds": seconds,
            "user_seconds": after.ru_utime - self.before.ru_utime,
            "system_seconds": after.ru_stime - self.before.ru_stime,
            "peak_mib": after.ru_maxrss / 1024,
            "anonymous_mib": self.anonymous_kib / 1024,
        }


MEASURES = {"generate": generate, "prepare": prepare_log, "train": train_on_log}

if __name__ == "__main__":
    main()
