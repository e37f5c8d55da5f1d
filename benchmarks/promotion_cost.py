"""Cost of a promotion: CPU seconds of the whole command beside those of its imports, and the number of repeated reads.

    python -m benchmarks.promotion_cost                                  # the scripts of this checkout
    python -m benchmarks.promotion_cost --root FOLDER                    # the scripts of another checkout
    python -m benchmarks.promotion_cost --prefix "clickflow {command}"   # the installed command
    python -m benchmarks.promotion_cost --against FOLDER --runs 5        # another checkout and this one in turn, pair by pair

Two small runs are trained, the first becomes champion, and the second is compared with it under a ``min_effect`` that lets it pass, so that
the whole promotion takes place. Every measured promotion begins with the same home, which is restored beforehand. CPU seconds are those of
a process and of the processes it waited for; the figures are medians, with minimum and maximum in brackets. Imports are measured in a
process that imports every module that a promotion has loaded by its end, so the difference does not depend on when a module is loaded.

Calls are counted in one more promotion, in a process where counters wrap MLflow's client, ``hashlib.file_digest``, ``ServingBundle.read``
and others. The tables are Markdown.

With ``--against``, each checkout has a home of its own, and the two take turns: the whole command, then the function
``promotion.promote.promote`` alone, in a process that has imported it.
"""

import argparse
import functools
import hashlib
import json
import os
import re
import runpy
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.start import Commands, Cost, spread

DATA = ["data=synthetic", "data.num_users=5000", "data.num_items=2000", "data.num_impressions=50000"]
QUIET = ["trainer=quick", "trainer.progress_bar=false", "tracking.log_system_metrics=false"]
READS = (
    "get_run",
    "get_registered_model",
    "get_model_version_by_alias",
    "get_model_version",
    "get_model_version_download_uri",
    "get_logged_model",
    "search_runs",
    "search_model_versions",
    "search_experiments",
    "get_experiment",
    "get_metric_history",
)
IMPORTS = """
import importlib, json, sys
for name in json.load(open(sys.argv[1]))["modules"]:
    try:
        importlib.import_module(name)
    except Exception:
        pass
"""


def main() -> None:
    if sys.argv[1:2] == ["counted"]:
        counted(Path(sys.argv[2]), sys.argv[3], sys.argv[4:])
        return
    if sys.argv[1:2] == ["timed"]:
        timed(Path(sys.argv[2]), sys.argv[3], sys.argv[4:])
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[1])
    parser.add_argument("--prefix", default="python pipelines/{command}.py")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--against", type=Path)
    arguments = parser.parse_args()
    commands = Commands(arguments.root.resolve(), arguments.prefix)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.against is None:
            measure(Promotion(commands, Path(folder)), arguments.runs)
        else:
            other = Commands(arguments.against.resolve(), arguments.prefix)
            compare(Promotion(other, Path(folder) / "before"), Promotion(commands, Path(folder) / "now"), arguments.runs)


class Promotion:
    """A promotion against a champion that can be repeated: two runs are trained, and the first is champion.

    Attributes:
        commands: commands of the checkout.
        folder: its home, and what measurements are written to.
        line: command line that promotes the second run.
    """

    def __init__(self, commands: Commands, folder: Path) -> None:
        self.commands, self.folder = commands, folder
        home = folder / "home"
        first, second = (trained(commands, home, seed) for seed in (0, 1))
        succeed(commands, commands.line("promote", [f"home={home}", "name=ctr", f"run_id={first}"]))
        shutil.copytree(home, folder / "saved")
        self.line = commands.line("promote", [f"home={home}", "name=ctr", f"run_id={second}", "min_effect=-0.9"])

    def done(self, *before: str) -> Cost:
        """Promote, from the same state each time; ``before`` is put in front of the script, in place of the interpreter."""
        shutil.rmtree(self.folder / "home")
        shutil.copytree(self.folder / "saved", self.folder / "home")  # to the same path: a store's artifacts have absolute paths
        script = self.line if self.line[0] != sys.executable else self.line[1:]
        return succeed(self.commands, [*before, *script] if before else self.line)

    def in_process(self, how: str) -> dict[str, Any]:
        """Promote in a process of this module, ``counted`` or ``timed``, and return what it measured."""
        found = self.folder / f"{how}.json"
        self.done(sys.executable, str(Path(__file__).resolve()), how, str(found))
        return json.loads(found.read_text(encoding="utf-8"))


def compare(before: Promotion, now: Promotion, runs: int) -> None:
    """Promote in two checkouts in turn, and print the CPU seconds of each and their ratios."""
    sides = (before, now)
    wholes, owns = [], []
    for _ in range(runs):
        wholes.append([side.done().cpu for side in sides])
        owns.append([side.in_process("timed")["cpu"] for side in sides])
    print(f"`promote` of a second run against a champion; {' '.join(DATA)}, {runs} pairs, CPU seconds\n")
    print("| | before | now | ratio of the medians | of the least | ratios of the pairs |")
    print("|---|---|---|---:|---:|---|")
    for what, pairs in (("the whole command", wholes), ("the promotion in it", owns)):
        one, other = zip(*pairs, strict=True)
        ratios = ", ".join(f"{after / earlier:.2f}" for earlier, after in pairs)
        print(f"| {what} | {spread(one)} | {spread(other)} | {median(other) / median(one):.2f} | {min(other) / min(one):.2f} | {ratios} |")


def measure(promotion: Promotion, runs: int) -> None:
    """Print the cost of a promotion and the calls in it."""
    commands = promotion.commands
    found = promotion.in_process("counted")
    whole, imports = [], []
    for _ in range(runs):
        whole.append(promotion.done())
        imports.append(succeed(commands, [sys.executable, "-c", IMPORTS, str(promotion.folder / "counted.json")]))
    beyond = median(cost.cpu for cost in whole) - median(cost.cpu for cost in imports)
    print(f"`{commands.prefix.format(command='promote')}` of a second run against a champion; {' '.join(DATA)}, {runs} runs each\n")
    print("| | CPU s | s |")
    print("|---|---|---|")
    print(f"| the whole command | {spread([cost.cpu for cost in whole])} | {spread([cost.wall for cost in whole])} |")
    print(
        f"| importing its {len(found['modules']):,} modules alone | {spread([cost.cpu for cost in imports])} "
        f"| {spread([cost.wall for cost in imports])} |"
    )
    print(f"| **beyond imports** | **{beyond:.2f}** | |\n")
    print_counts(found)


def trained(commands: Commands, home: Path, seed: int) -> str:
    """Train a run with a seed and return its id."""
    said = succeed(commands, commands.line("train", [f"home={home}", *DATA, *QUIET, "model=din", f"seed={seed}"])).said
    run = re.search(r"\brun ([0-9a-f]{32})\b", said)
    assert run is not None, said
    return run[1]


def succeed(commands: Commands, line: Sequence[str]) -> Cost:
    """Run a command line that must succeed."""
    cost = commands.cost(line)
    if cost.exit_code:
        raise RuntimeError(f"{' '.join(line)} ended with {cost.exit_code}:\n{cost.said[-4000:]}")
    return cost


def print_counts(found: dict[str, Any]) -> None:
    """Print two tables: calls, those by MLflow's own code apart, and the hashed files."""
    calls, by_mlflow = found["calls"], found["by_mlflow"]
    first = [f"MlflowClient.{name}" for name in READS]
    others = sorted(set(calls) - set(first), key=lambda name: (name.startswith("MlflowClient"), name))
    print("| in one promotion | calls | by MLflow itself |")
    print("|---|---:|---:|")
    for name in [*first, *others]:
        print(f"| `{name}` | {calls.get(name, 0) - by_mlflow.get(name, 0)} | {by_mlflow.get(name, 0) or ''} |")
    print("\n| SHA-256 over the files of | files | passes over a file | bytes hashed | bytes of the files |")
    print("|---|---:|---:|---:|---:|")
    for kind, files in found["hashed"].items():
        times = [number for number, _ in files.values()]
        passes = f"{min(times)}" if min(times) == max(times) else f"{min(times)} to {max(times)}"
        once, total = sum(size for _, size in files.values()), sum(number * size for number, size in files.values())
        print(f"| {kind} | {len(files)} | {passes} | {total:,} | {once:,} |")


def timed(to: Path, script: str, arguments: Sequence[str]) -> None:
    """Run a command's script in this process and write the CPU seconds of its promotion."""
    from clickflow.promotion import promote as module

    promote = module.promote

    def timed_promote(*args: Any, **kwargs: Any) -> Any:
        start = time.process_time()
        outcome = promote(*args, **kwargs)
        to.write_text(json.dumps({"cpu": time.process_time() - start}), encoding="utf-8")
        return outcome

    module.promote = timed_promote
    run_script(script, arguments)


def run_script(script: str, arguments: Sequence[str]) -> Any:
    """Run a script, or an installed command, in this process; returns its exit code."""
    path = script if os.sep in script else shutil.which(script)
    assert path is not None, script
    sys.argv = [path, *arguments]
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as end:
        return end.code
    return 0


def counted(to: Path, script: str, arguments: Sequence[str]) -> None:
    """Run a command's script in this process and write the counts of its calls."""
    import mlflow.artifacts
    from mlflow import MlflowClient

    from clickflow.data import storage
    from clickflow.data.dataset import PreparedDataset
    from clickflow.serving.bundle import ServingBundle

    calls: Counter[str] = Counter()
    by_mlflow: Counter[str] = Counter()
    hashed: dict[str, dict[str, list[int]]] = {}

    def counting(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            calls[name] += 1
            by_mlflow[name] += str(sys._getframe(1).f_globals.get("__name__")).startswith("mlflow.")
            return call(*args, **kwargs)

        return wrapped

    def of_class(owner: type, method: str) -> None:
        bound = getattr(owner, method).__func__
        setattr(owner, method, classmethod(counting(f"{owner.__name__}.{method}", bound)))

    digest_file = hashlib.file_digest

    def file_digest(file: Any, *args: Any, **kwargs: Any) -> Any:
        calls["hashlib.file_digest"] += 1
        path = Path(file.name).resolve()
        entry = hashed.setdefault(kind_of(path), {}).setdefault(name_of(path), [0, path.stat().st_size])
        entry[0] += 1
        return digest_file(file, *args, **kwargs)

    for name, method in list(vars(MlflowClient).items()):
        if not name.startswith("_") and callable(method):
            setattr(MlflowClient, name, counting(f"MlflowClient.{name}", method))
    hashlib.file_digest = file_digest  # type: ignore[assignment]
    for function in ("digest", "digest_frame"):
        setattr(storage, function, counting(f"data.storage.{function}", getattr(storage, function)))
    of_class(ServingBundle, "read")
    of_class(PreparedDataset, "open")
    mlflow.artifacts.download_artifacts = counting("mlflow.artifacts.download_artifacts", mlflow.artifacts.download_artifacts)
    for name in ("hashlib.file_digest", "ServingBundle.read", "PreparedDataset.open", "mlflow.artifacts.download_artifacts"):
        calls[name] += 0

    code = run_script(script, arguments)
    modules = [name for name in sys.modules if name not in ("__main__", "benchmarks") and not name.startswith("benchmarks.")]
    to.write_text(json.dumps({"calls": calls, "by_mlflow": by_mlflow, "hashed": hashed, "modules": modules}), encoding="utf-8")
    sys.exit(code)


def kind_of(path: Path) -> str:
    """Owner of a file: a model, the prepared data or others."""
    if "bundle" in path.parts:
        return f"model {next((part for part in path.parts if part.startswith('m-')), 'in a copy')[:6]}…"
    return "the prepared data" if any((parent / "manifest.json").exists() for parent in path.parents) else "others"


def name_of(path: Path) -> str:
    """Name of a file: the end of its path."""
    return "/".join(path.parts[-6:])


if __name__ == "__main__":
    main()
