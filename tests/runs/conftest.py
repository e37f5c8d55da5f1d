"""A tiny training, made once."""

import pytest
from tests.runs.small import small_config

from clickflow.runs.train import train


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    return train(small_config(tmp_path_factory.mktemp("home") / "clickflow"))
