"""One store for all tests of a session: making a database takes two seconds, and runs do not see each other."""

import pytest

from clickflow.tracking.config import TrackingConfig
from clickflow.tracking.lifecycle import open_run
from clickflow.tracking.store import open_store


def pytest_configure(config):
    # MLflow 3.17 with SQLAlchemy 2.1: its table mappings use what SQLAlchemy will drop.
    config.addinivalue_line("filterwarnings", "ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")
    # MLflow 3.17 with pandas 3: how it reads an input example.
    config.addinivalue_line("filterwarnings", "ignore:Operation with range is deprecated")


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
