"""One store for all tests of a session: making a database takes two seconds, and runs do not see each other."""

import pytest

from clickflow.tracking.config import TrackingConfig
from clickflow.tracking.lifecycle import open_run
from clickflow.tracking.store import open_store


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
