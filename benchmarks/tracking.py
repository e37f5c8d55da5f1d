"""Cost of logging metrics, for the thread that logs them and for the CPU.

    python benchmarks/tracking.py                       # a new SQLite store
    python benchmarks/tracking.py http://127.0.0.1:5000 # a running server

`CALLS` calls of five metrics each are made one after the other through the run's buffer, through MLflow's client, and through the client's
asynchronous mode; all in one run. The figures are the caller's median and largest milliseconds, the CPU milliseconds of all threads per
call (which the training thread may lose to the writing one), and the seconds until everything is in the store.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mlflow.entities import Metric

from clickflow.tracking.config import TrackingConfig
from clickflow.tracking.lifecycle import open_run
from clickflow.tracking.run import Run
from clickflow.tracking.store import open_store

CALLS = 500
METRICS = {
    "train/loss": 0.5,
    "train/learning_rate": 1e-3,
    "train/grad_norm/embedding": 0.1,
    "train/grad_norm/mlp": 0.2,
    "train/rows_per_second": 5e4,
}


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        uri = sys.argv[1] if len(sys.argv) > 1 else None
        store = open_store(TrackingConfig(uri=uri, experiment_name="benchmark_tracking"), Path(home))
        with open_run(store, name="benchmark", params={}, tags={}, log_system_metrics=False) as run:
            print(f"store {store.uri.split(':')[0]}, {CALLS} calls of {len(METRICS)} metrics")
            print(f"{'':36}{'ms/call':>9}{'largest':>9}{'CPU ms':>9}{'stored s':>9}")
            per_call(run)


def per_call(run: Run) -> None:
    client = run.store.client

    def plain(name: str, step: int, *, synchronous: bool) -> object:
        now = int(time.time() * 1000)
        return client.log_batch(
            run.id, [Metric(f"{name}/{key}", value, now, step) for key, value in METRICS.items()], synchronous=synchronous
        )

    pending: list = []
    report("run.log_metrics, buffered", lambda step: run.log_metrics(METRICS, step), run.flush)
    report("client.log_batch", lambda step: plain("plain", step, synchronous=True), lambda: None)
    report(
        "client.log_batch(synchronous=False)",
        lambda step: pending.append(plain("asynchronous", step, synchronous=False)),
        lambda: [operation.wait() for operation in pending],
    )


def report(name: str, call: Callable[[int], object], wait: Callable[[], object]) -> None:
    start, cpu_start = time.perf_counter(), time.process_time()
    seconds = []
    for step in range(CALLS):
        before = time.perf_counter()
        call(step)
        seconds.append(time.perf_counter() - before)
    wait()
    stored, cpu = time.perf_counter() - start, (time.process_time() - cpu_start) / CALLS
    print(f"{name:36}{statistics.median(seconds) * 1e3:9.4f}{max(seconds) * 1e3:9.2f}{cpu * 1e3:9.3f}{stored:9.2f}")


if __name__ == "__main__":
    main()
