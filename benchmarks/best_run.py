"""Time to choose the best of 10,000 runs, and the effect of the store's statistics on it.

    python benchmarks/best_run.py           # 10,000 runs in a new SQLite store
    python benchmarks/best_run.py 1000      # fewer

One run is trained and its rows in the database are copied, each copy with its own metric: params, tags, metrics, the data set and the
logged model are those of a real run. The copies are written by SQL, since logging them would take an hour; the code of ``promote.py``
reads them. Every tenth run is marked as failed. The benchmark times the choice of the best run with its model (``choose``) and the same
query without the condition on the metric (``plain``), each before and after ``ANALYZE``.
"""

import random
import sqlite3
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from clickflow.cli.compose import composed_config
from clickflow.cli.launch import set_environment
from clickflow.config import validate
from clickflow.promotion.challenger import choose
from clickflow.promotion.config import PromoteConfig
from clickflow.runs.config import RunConfig
from clickflow.runs.train import train
from clickflow.tracking.config import TrackingConfig
from clickflow.tracking.store import Store, open_store

RUNS, REPEATS = 10_000, 5
SMALL = ["data.num_users=300", "data.num_items=200", "data.num_categories=10", "data.num_impressions=4000", "trainer.max_epochs=1"]
# Table -> columns that identify the run or its model.
COPIED = {
    "runs": "run_uuid",
    "params": "run_uuid",
    "tags": "run_uuid",
    "latest_metrics": "run_uuid",
    "inputs": "destination_id",
    "logged_models": "source_run_id",
}


def main() -> None:
    set_environment()
    num_runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        overrides = [f"home={home}", *SMALL, "model=base", "trainer.progress_bar=false", "tracking.log_system_metrics=false"]
        trained = train(validate(RunConfig, composed_config("train", overrides)))
        best = copy_runs(home / "mlflow.db", trained.run_id, trained.model_uri.removeprefix("models:/"), num_runs)
        store = open_store(TrackingConfig(), home)
        config = PromoteConfig(name="ctr", experiment_name="synthetic", home=home, tracking=TrackingConfig())
        assert choose(store, config, None, {}).run.run_id == best
        megabytes = (home / "mlflow.db").stat().st_size / 1e6
        print(f"{num_runs:,} runs, {megabytes:,.0f} MB of SQLite; median seconds of {REPEATS} repeats, the largest in brackets")
        for state in ("as it grew", "after ANALYZE"):
            if state == "after ANALYZE":
                with sqlite3.connect(home / "mlflow.db") as database:
                    database.execute("ANALYZE")
            print(f"  {state:16}choose {timed(lambda: choose(store, config, None, {}))}   plain {timed(lambda: plain(store))}")


def plain(store: Store) -> object:
    return store.client.search_runs(["1"], "attributes.status = 'FINISHED'", max_results=10, order_by=["metrics.`best/gauc` DESC"])


def copy_runs(path: Path, run_id: str, model_id: str, num_runs: int) -> str:
    """Copy a run's rows and return the id of the best run."""
    draw = random.Random(0)
    best, best_value = run_id, 0.0
    with sqlite3.connect(path) as database:
        database.execute("UPDATE latest_metrics SET value = 0 WHERE key = 'best/gauc'")
        templates = {
            table: database.execute(f"SELECT * FROM {table} WHERE {column} = ? OR '{table}' = 'inputs'", [run_id]).fetchall()
            for table, column in COPIED.items()
        }
        status = [column[1] for column in database.execute("PRAGMA table_info(runs)")].index("status")
        for number in range(num_runs - 1):
            run, model, value = uuid.uuid4().hex, f"m-{uuid.uuid4().hex}", draw.random()
            changed = {run_id: run, model_id: model}
            for table, rows in templates.items():
                copies = [[changed.get(cell, cell) for cell in row] for row in rows]
                for copy in copies:
                    if table == "inputs":
                        copy[0] = uuid.uuid4().hex
                    elif table == "latest_metrics" and copy[0] == "best/gauc":
                        copy[1] = value
                    elif table == "runs" and number % 10 == 0:
                        copy[status] = "FAILED"
                database.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", copies)
            if number % 10 and value > best_value:
                best, best_value = run, value
    return best


def timed(call: Callable[[], object]) -> str:
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return f"{statistics.median(seconds):6.3f} ({max(seconds):.3f})"


if __name__ == "__main__":
    main()
