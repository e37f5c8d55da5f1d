"""Time and memory of preparing a real click log with ``next_item`` and a generated one of a million impressions.

    python benchmarks/prepare.py [path of globo_clicks.parquet]

Each figure comes from a process of its own with a fresh home, so that its peak memory is that of the work alone. Importing libraries is not
counted. CPU seconds are printed beside wall seconds, because wall seconds grow on a busy machine.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MIB = 1 << 20
ONE_MILLION = 1_000_000


def main() -> None:
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(MEASURES[sys.argv[2]](*sys.argv[3:])))
        return
    report("synthetic, 1,000,000 impressions generated", in_own_process("generate"))
    for path in sys.argv[1:]:
        figures = in_own_process("prepare_clicks", path)
        report(f"{Path(path).name}, next_item: {figures['behaviours']:,} behaviours", figures)
        print(f"  {figures['behaviours'] / figures['seconds']:,.0f} behaviours/s, {figures['bytes'] / MIB:.1f} MiB prepared")
        print(f"  opened again in {figures['open_seconds']:.2f} s (the checksum of every file verified)")


def report(what: str, figures: dict[str, Any]) -> None:
    print(what)
    cpu = f"CPU {figures['user_seconds']:.2f} s user, {figures['system_seconds']:.2f} s system"
    print(f"  {figures['seconds']:.2f} s ({cpu}), peak {figures['peak_mib']:,.0f} MiB")


def in_own_process(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--measure", *arguments]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def generate() -> dict[str, Any]:
    from clickflow.data.sources.synthetic import SyntheticConfig

    config = SyntheticConfig(name="million", num_impressions=ONE_MILLION)
    _, figures = measured(lambda: config.read(()))
    return figures


def prepare_clicks(path: str) -> dict[str, Any]:
    from clickflow.config import validate
    from clickflow.data.dataset import PreparedDataset
    from clickflow.data.prepare import prepare
    from clickflow.data.protocols import NextItemConfig
    from clickflow.data.sources.log import LogConfig

    values = {
        "name": "globo",
        "source": "log",
        "path": path,
        "columns": {"user": "user_id", "item": "item_id", "timestamp": "timestamp"},
        "timestamp_unit": "milliseconds",
        "item_fields": {"category": {"column": "category_id"}},
    }
    with tempfile.TemporaryDirectory() as home:
        dataset, figures = measured(lambda: prepare(validate(LogConfig, values), NextItemConfig(), Path(home)))
        start = time.perf_counter()
        PreparedDataset.open(dataset.folder)
        return figures | {
            "behaviours": dataset.manifest.num_behaviours,
            "bytes": dataset.num_bytes,
            "open_seconds": time.perf_counter() - start,
        }


def measured(work: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    """Result of the work; its wall and CPU seconds, and the process's peak memory in MiB."""
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    value = work()
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    return value, {
        "seconds": seconds,
        "user_seconds": after.ru_utime - before.ru_utime,
        "system_seconds": after.ru_stime - before.ru_stime,
        "peak_mib": after.ru_maxrss / 1024,
    }


MEASURES: dict[str, Callable[..., dict[str, Any]]] = {"generate": generate, "prepare_clicks": prepare_clicks}

if __name__ == "__main__":
    main()
