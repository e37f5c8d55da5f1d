"""What the tests of a session share: one small prepared dataset, one store, and one empty database to copy.

Torch and MLflow are imported in the fixtures: pytest-xdist loads this file also in the process that only hands out the tests.
"""

import contextlib
import copy
import gc
import os
import sqlite3
import sys

import pytest
from hypothesis import settings
from tests.packages import Packages

# Tests that run side by side on two cores compete for them: a tiny test can take a hundred times longer. Torch reads it when it is
# imported, and child processes inherit it.
os.environ["OMP_NUM_THREADS"] = "1"

pytest.register_assert_rewrite("tests.contracts.models")  # a failed assert shows its values there too

# A deadline measures how busy the machine is, not whether the code is right. CI judges a change by examples that are the same in every run;
# on a developer's machine each run tries new ones.
settings.register_profile("clickflow", deadline=None, derandomize="CI" in os.environ)
settings.register_profile("fast", settings.get_profile("clickflow"), max_examples=25)
settings.load_profile("clickflow")


def pytest_collection_modifyitems(items):
    """Slow tests first: a long file that begins last keeps one of two processes waiting."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_collection_finish():
    """Keep what was imported out of the garbage collector's way: half a million objects that stay until the end."""
    gc.freeze()
    gc.set_threshold(10_000)


@pytest.fixture(scope="session", autouse=True)
def same_configs_are_composed_once():
    """Keep what Hydra makes of the repository's configs: a composition takes a tenth of a second, and many tests ask for the same one."""
    if "hydra" not in sys.modules:
        yield
        return
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    from clickflow.models.entry_points import models_of_packages

    composed = {}
    compose = hydra.compose

    def kept(config_name, overrides, return_hydra_config):
        search_path = GlobalHydra.instance().config_loader().get_search_path().get_path()
        has_users_folder = any(element.path.startswith("file://") for element in search_path)
        if has_users_folder or models_of_packages() or return_hydra_config:
            return compose(config_name, overrides, return_hydra_config)
        key = (config_name, *overrides)
        if key not in composed:
            composed[key] = compose(config_name, overrides)
        return copy.deepcopy(composed[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hydra, "compose", kept)
        yield


@pytest.fixture(scope="session", autouse=True)
def new_databases_are_copies(tmp_path_factory):
    """Copy MLflow's empty SQLite database, which is made once: MLflow runs all its migrations for each, which takes a second."""
    if "mlflow" not in sys.modules:  # the tests that were collected do without it
        yield
        return
    from mlflow.store.db import utils

    empty = tmp_path_factory.mktemp("database") / "empty.db"
    initialize_tables = utils._initialize_tables

    def copy(engine):
        if engine.dialect.name != "sqlite" or not utils._is_empty_database(engine):
            initialize_tables(engine)
            return
        if not empty.exists():
            initialize_tables(engine)
            backup(engine.url.database, empty)
            return
        engine.dispose()
        backup(empty, engine.url.database)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "_initialize_tables", copy)
        yield


def backup(source, target):
    with contextlib.closing(sqlite3.connect(source)) as one, contextlib.closing(sqlite3.connect(target)) as other:
        one.backup(other)


@pytest.fixture(scope="session")
def small_log():
    from clickflow.data.sources.synthetic import SyntheticConfig

    return SyntheticConfig(name="small", num_users=2_000, num_items=500, num_categories=20, num_impressions=5_000)


@pytest.fixture(scope="session")
def small_dataset(small_log, tmp_path_factory):
    """Dataset of 2,000 users and 5,000 impressions with true probabilities; read-only, copy the folder to change it."""
    from clickflow.data.prepare import prepare
    from clickflow.data.protocols import ImpressionsConfig

    return prepare(small_log, ImpressionsConfig(), tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def learnable_dataset(tmp_path_factory):
    """Dataset whose items differ much in appeal and occur often, so that a model without a history also learns something."""
    from clickflow.data.prepare import prepare
    from clickflow.data.protocols import ImpressionsConfig
    from clickflow.data.sources.synthetic import SyntheticConfig

    log = SyntheticConfig(name="learnable", num_users=2_000, num_items=200, num_categories=20, num_impressions=10_000, appeal_std=1.5)
    return prepare(log, ImpressionsConfig(), tmp_path_factory.mktemp("learnable"))


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home with space")


@pytest.fixture(scope="session")
def store(home):
    from clickflow.tracking.config import TrackingConfig
    from clickflow.tracking.store import open_store

    return open_store(TrackingConfig(experiment_name="tests"), home)


@pytest.fixture
def run(store, request):
    from clickflow.tracking.lifecycle import open_run

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
