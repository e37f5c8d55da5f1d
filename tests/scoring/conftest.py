"""A store with one registered model, made once: version 1 is the model of tests/serving/bundles.py."""

import pytest
from tests.scoring.registered import register
from tests.serving.bundles import make_bundle


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("scoring")
    register(home, make_bundle())
    return home
