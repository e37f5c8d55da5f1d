"""A promotion opens each thing once: no file is hashed twice, no bundle read twice, and the store is asked a few times."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from mlflow import MlflowClient

from clickflow import digests
from clickflow.data import storage
from clickflow.data.dataset import PreparedDataset
from clickflow.promotion.promote import promote
from clickflow.promotion.rollback import roll_back
from clickflow.serving.bundle import ServingBundle

pytestmark = pytest.mark.slow

NEEDLESS = {"torchmetrics", "pytorch_lightning", "scipy.stats", "matplotlib.pyplot", "torch._dynamo"}
ASKED = ("get_run", "get_registered_model", "search_model_versions", "get_model_version_by_alias")


@pytest.fixture
def counted(monkeypatch):
    """Calls by name, MLflow's own among them, and hashed files by path."""
    calls = Counter()

    def counting(owner, name, key=lambda *arguments: None):
        original = getattr(owner, name)

        def call(*arguments, **keywords):
            calls[key(*arguments) or name] += 1
            return original(*arguments, **keywords)

        monkeypatch.setattr(owner, name, call)

    for name in ASKED:
        counting(MlflowClient, name)
    for module in (storage, digests):
        counting(module, "digest_file", lambda path: Path(path).resolve())
    counting(ServingBundle, "read", lambda folder: f"bundle {Path(folder).resolve()}")
    counting(PreparedDataset, "open", lambda folder: f"data set {folder}")
    return calls


def of_kind(calls, kind):
    return {key: number for key, number in calls.items() if str(key).startswith(kind)}


def test_a_promotion_against_a_champion_reads_each_thing_once(trained, name, counted):
    first, second = (run.run_id for run in trained.runs)
    promote(trained.config(name, run_id=first))
    counted.clear()
    assert promote(trained.config(name, run_id=second, min_effect=-0.9)).champion == 1
    files = [path for path in counted if isinstance(path, Path)]
    assert sum(path.name == "train.arrow" for path in files) == 1
    assert sum(path.name == "weights.safetensors" for path in files) == 2
    assert {counted[path] for path in files} == {1}
    assert list(of_kind(counted, "data set").values()) == [1]
    assert list(of_kind(counted, "bundle").values()) == [1, 1]
    assert counted["get_run"] <= 9
    assert counted["get_registered_model"] <= 11
    assert counted["search_model_versions"] <= 5
    assert counted["get_model_version_by_alias"] <= 5

    counted.clear()
    roll_back(trained.config(name, rollback=True))
    assert list(of_kind(counted, "bundle").values()) == [1]


def test_a_promotion_imports_nothing_that_only_training_needs(trained, name):
    run_id = trained.runs[0].run_id
    command = [sys.executable, "-X", "importtime", "-m", "clickflow", "promote", f"home={trained.home}", f"name={name}", f"run_id={run_id}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert {"torch", "mlflow", "matplotlib.figure"} <= imported
    assert not imported & NEEDLESS
