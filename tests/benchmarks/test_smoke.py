"""Every benchmark still runs: once, on as little data as takes it through all of its lines."""

import ast
import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from clickflow.cli.compose import composed_config
from clickflow.cli.search_path import REPOSITORY
from clickflow.config import validate
from clickflow.runs.config import RunConfig

NAMES = sorted(path.stem for path in (REPOSITORY / "benchmarks").glob("*.py"))
SHAPE = [
    "data=synthetic",
    "data.name=tiny_shape",
    "data.num_users=300",
    "data.num_items=200",
    "data.num_categories=10",
    "data.num_impressions=4000",
    "data.mean_history=4.0",
    "model=din",
    "trainer=quick",
    "trainer.max_epochs=1",
    "trainer.batch_size=256",
]
DATA = SHAPE[:1] + SHAPE[2:6]


@dataclass(frozen=True)
class Tiny:
    """A benchmark on next to nothing.

    Attributes:
        shows: a part of what it prints at its end.
        start: how it is started, given its module.
        arguments: its command line.
        constants: of its module, and of others by their dotted name, that make it small.
    """

    shows: str
    start: Callable[[ModuleType], object] = lambda module: module.main()
    arguments: list[str] = field(default_factory=list)
    constants: Mapping[str, Any] = field(default_factory=dict)


def prepare_in_this_process(module):
    """The figures of ``prepare`` come from processes of their own, which would not see the smaller constants."""
    module.in_own_process = lambda name, *arguments: module.MEASURES[name](*arguments)
    module.main()


def reproduce(module):
    with pytest.raises(SystemExit) as caught:
        module.main()
    assert caught.value.code == 0  # all agree


TINY = {
    "activation_unit": Tiny("times as fast as the plain one", lambda module: module.main(1), constants={"SHAPE": SHAPE, "NUM_BATCHES": 1}),
    "best_run": Tiny("ANALYZE", arguments=["20"], constants={"REPEATS": 1}),
    "dien": Tiny(
        "times ours", lambda module: module.main(2), constants={"SHAPE": SHAPE, "CAPS": (5,), "BATCH_SIZE": 64, "PADDED_EVERY": 1}
    ),
    "gate": Tiny("gauc", arguments=["1"], constants={"ROWS": 2_000, "USERS": 500, "IMPRESSIONS": 10_000}),
    "latency": Tiny("p99", lambda module: module.main(2), constants={"NUM_ITEMS": 300, "NUM_CATEGORIES": 9, "WARM_UP": 1}),
    "metrics": Tiny("pr_curve", constants={"ROWS": 3_000, "USERS": 300, "FEWER_ROWS": 2_000, "FEWER_USERS": 100}),
    "negatives": Tiny("popularity", constants={"NUM_ITEMS": 300, "NUM_ROWS": 5_000, "ROWS_OF_THE_CRAWLER": 500}),
    "optimizers": Tiny("of the whole table", lambda module: module.main(1), constants={"VOCABULARIES": (1_000,)}),
    "prepare": Tiny("opened again in", prepare_in_this_process, arguments=["CLICKS"], constants={"ONE_MILLION": 2_000}),
    "regularisation": Tiny("mini_batch_aware", lambda module: module.main(2), constants={"VOCABULARIES": (1_000,), "BATCH_SIZE": 64}),
    "reproduce": Tiny("reproduced", reproduce, ["--rows", "4000", "--threads", "1", "--epochs", "1"], constants={"MODELS": {"base": []}}),
    "scoring": Tiny("peak memory", arguments=["2000"], constants={"NUM_ITEMS": 300, "NUM_CATEGORIES": 9}),
    "serve": Tiny(
        "0 errors",
        lambda module: module.main(16, 1, 1),
        constants={"SINGLE_REQUESTS": 4, "WARM_UP": 1, "NUM_BODIES": 2, "benchmarks.latency.NUM_ITEMS": 300},
    ),
    "significance": Tiny(
        "by filtering",
        constants={"ROWS": 4_000, "USERS": 400, "REPLICATES": 200, "FEWER_ROWS": 500, "FEWER_REPLICATES": 2},
    ),
    "start": Tiny("did you mean keep_best?", arguments=["--commands", "gc", "--runs", "1"]),
    "sweep": Tiny("overhead", arguments=["overhead", "--trials", "3"], constants={"SIZES": {"small": [*DATA, "trainer.max_epochs=1"]}}),
    "tracking": Tiny("client.log_batch(synchronous=False)", constants={"CALLS": 3}),
    "train": Tiny("ratio", lambda module: module.main(1), constants={"SHAPE": SHAPE}),
    "vocabulary": Tiny(
        "din: ratio", lambda module: module.main(["din"], 1, []), constants={"SIZES": (500, 1_000), "BATCH_SIZE": 64, "NUM_BATCHES": 2}
    ),
}
NOT_RUN = {
    "prepare_memory": "prepares two sizes of a log in processes of their own and takes minutes; its help is asked for",
    "promotion_cost": "trains and promotes in processes of their own for minutes; its help is asked for",
    "results": "needs the papers' data sets and hours; its configs are composed below",
    "sweep_against_hydra_optuna": "makes an environment of its own with another sweeper; its help is asked for",
    "sweep_command": "starts sweeps for the other benchmarks and is run by them",
    "sweep_pruning": "starts many sweeps, as `sweep` does one; its help is asked for",
    "sweep_survival": "kills workers at random moments until enough have died; its help is asked for",
}


@pytest.fixture
def clicks(tmp_path):
    """A click log as ``prepare`` takes it."""
    draw = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "user_id": draw.integers(0, 50, 600),
            "item_id": draw.integers(0, 40, 600),
            "timestamp": 1_700_000_000_000 + np.arange(600) * 1_000,
        }
    )
    frame.with_columns(category_id=pl.col("item_id") % 7).write_parquet(tmp_path / "clicks.parquet")
    return tmp_path / "clicks.parquet"


@pytest.fixture
def start(monkeypatch, clicks):
    """Start a benchmark as its command line would; what it sets for the whole process is put back."""
    threads = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(REPOSITORY)

    def start(name: str, tiny: Tiny) -> None:
        module = importlib.import_module(f"benchmarks.{name}")
        for constant, value in tiny.constants.items():
            monkeypatch.setattr(constant if "." in constant else f"benchmarks.{name}.{constant}", value)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *(str(clicks) if text == "CLICKS" else text for text in tiny.arguments)])
        tiny.start(module)

    yield start
    torch.set_num_threads(threads)


def test_every_benchmark_is_run_here_or_has_a_reason_not_to_be():
    assert sorted([*TINY, *NOT_RUN]) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_it_finds_what_it_imports(name):
    importlib.import_module(f"benchmarks.{name}")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TINY)
def test_it_runs_to_its_last_figure(name, start, capfd):
    start(name, TINY[name])
    assert TINY[name].shows in capfd.readouterr().out


@pytest.mark.parametrize("name", ["prepare_memory", "promotion_cost", "sweep_against_hydra_optuna", "sweep_pruning", "sweep_survival"])
def test_its_help_is_shown(name, start, capsys):
    with pytest.raises(SystemExit) as caught:
        start(name, Tiny("", arguments=["--help"]))
    assert caught.value.code == 0
    assert f"usage: {name}.py" in capsys.readouterr().out


@pytest.mark.parametrize("data", ["amazon_beauty_5core", "movielens_1m_rating"])
def test_the_trials_behind_the_tables_of_results_are_configs(data, tmp_path):
    results = importlib.import_module("benchmarks.results")
    shared = [text.format(folder=tmp_path) for text in results.DATA[data]] + [*results.SHARED, f"home={tmp_path}"]
    for *_, last in results.trials_of_models(data).values():
        validate(RunConfig, composed_config("train", [*shared, *last], str(results.CONF)))


def test_the_parts_that_a_timed_worker_wraps_are_there():
    sweep = importlib.import_module("benchmarks.sweep")
    for path in sweep.PARTS.values():
        owner, name = sweep.owner_of(path)
        assert callable(getattr(owner, name)), path


def test_the_training_script_of_the_other_sweeper_finds_what_it_imports():
    script = importlib.import_module("benchmarks.sweep_against_hydra_optuna").TRAINING_SCRIPT
    imports = [node for node in ast.parse(script).body if isinstance(node, ast.ImportFrom) and node.module.startswith("clickflow")]
    assert imports
    exec(compile(ast.Module(imports, []), "training script", "exec"), {})
