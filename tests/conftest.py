"""A small prepared dataset and a store that all tests of a session share: a new database costs a second, and runs are independent."""

import os

import pytest
import torch
from hypothesis import settings
from tests.packages import Packages

from clickflow.data.dataset import PreparedDataset
from clickflow.data.prepare import prepare
from clickflow.data.protocols import ImpressionsConfig
from clickflow.data.sources.synthetic import SyntheticConfig
from clickflow.tracking.config import TrackingConfig
from clickflow.tracking.lifecycle import open_run
from clickflow.tracking.store import open_store

# Tests that run side by side on two cores compete for them: a tiny test can take a hundred times longer. Their child processes inherit it.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)

# A deadline measures how busy the machine is, not whether the code is right.
settings.register_profile("clickflow", deadline=None)
settings.load_profile("clickflow")


@pytest.fixture(scope="session")
def small_log() -> SyntheticConfig:
    return SyntheticConfig(name="small", num_users=2_000, num_items=500, num_categories=20, num_impressions=5_000)


@pytest.fixture(scope="session")
def small_dataset(small_log, tmp_path_factory) -> PreparedDataset:
    """Dataset of 2,000 users and 5,000 impressions with true probabilities; read-only, copy the folder to change it."""
    return prepare(small_log, ImpressionsConfig(), tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def learnable_dataset(tmp_path_factory):
    """Dataset whose items differ much in appeal and occur often, so that a model without a history also learns something."""
    log = SyntheticConfig(name="learnable", num_users=2_000, num_items=200, num_categories=20, num_impressions=10_000, appeal_std=1.5)
    return prepare(log, ImpressionsConfig(), tmp_path_factory.mktemp("learnable"))


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home with space")


@pytest.fixture(scope="session")
def store(home):
    return open_store(TrackingConfig(experiment_name="tests"), home)


@pytest.fixture
def run(store, request):
    with open_run(store, name=request.node.name, params={}, tags={}, log_system_metrics=False) as run:
        yield run


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A folder in which a test installs packages of its own."""
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    installed = Packages(folder)
    yield installed
    installed.forget()
