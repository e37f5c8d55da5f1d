"""Models logged by version 0.1 load and score as they did: MLflow's own loader, the store's, and the bundle behind both.

``models_of_0_1/make.py`` made the files with that version, which also gave the probabilities.
"""

import json
import sys
import zipfile
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.entities import LoggedModelOutput

from clickflow.tracking.config import TrackingConfig
from clickflow.tracking.lifecycle import open_run
from clickflow.tracking.logged_model import load_model, read_bundle
from clickflow.tracking.store import open_store

FILES = Path(__file__).parent / "models_of_0_1"
NAMES = ("base", "din", "dien")


def requests(name):
    return json.loads((FILES / f"{name}.json").read_text(encoding="utf-8"))["requests"]


def assert_scores_as_before(model, name):
    # Products of float32 differ in their last bits from one kind of processor to another.
    for request in requests(name):
        found = model.predict(pd.DataFrame(request["rows"]))["probability"].tolist()
        for row, (score, before) in enumerate(zip(found, request["probability"], strict=True)):
            np.testing.assert_allclose(score, before, rtol=0, atol=1e-6, err_msg=f"{request['name']}, row {row}")


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def folder(name, tmp_path):
    """The model's folder as version 0.1 wrote it, with the code of that version in it."""
    with zipfile.ZipFile(FILES / f"{name}.zip") as archive:
        archive.extractall(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def same_path():
    """MLflow puts the code of a model on the path, and leaves it there."""
    before = list(sys.path)
    yield
    sys.path[:] = before


def test_mlflow_loads_them(folder, name, same_path):
    assert_scores_as_before(mlflow.pyfunc.load_model(str(folder)), name)


def test_they_are_loaded_from_a_store(folder, name, tmp_path):
    store = open_store(TrackingConfig(experiment_name="old"), tmp_path / "home")
    with open_run(store, name="old", params={}, tags={}) as run:
        experiment = store.client.get_run(run.id).info.experiment_id
        logged = store.client.create_logged_model(experiment, name=name, source_run_id=run.id)
        store.client.log_model_artifacts(logged.model_id, str(folder))
        store.client.log_outputs(run.id, [LoggedModelOutput(logged.model_id, step=0)])
        store.client.finalize_logged_model(logged.model_id, "READY")
    uri = f"models:/{logged.model_id}"

    assert_scores_as_before(load_model(store, uri), name)

    bundle = read_bundle(store, uri)
    assert bundle.model_config["name"] == name
    assert set(bundle.build_model().state_dict()) == set(bundle.state_dict)
