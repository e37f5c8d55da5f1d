"""Models as they were trained, served by plain MLflow in a process of its own: the same predictions, without what trained them."""

import json
import os
import subprocess
import sys
from typing import get_args

import numpy as np
import pytest
import torch
from tests.runs.small import small_config

from clickflow.data.dataset import PreparedDataset
from clickflow.data.prepare import prepare
from clickflow.data.schema import ITEM
from clickflow.models.config import ModelConfig
from clickflow.runs.train import train
from clickflow.tracking.logged_model import read_bundle
from clickflow.tracking.store import open_store

pytestmark = pytest.mark.slow

NAMES = [config_class.model_fields["name"].default for config_class in get_args(get_args(ModelConfig)[0])]
NUM_ROWS, MAX_HISTORY = 40, 20

SERVE = """
import importlib.abc, json, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in {"pytorch_lightning", "lightning", "hydra", "omegaconf", "optuna", "polars", "torchmetrics"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())  # MLflow itself takes Polars where it is
import mlflow, pandas

request = json.load(sys.stdin)
mlflow.set_tracking_uri(request["store"])
answers = []
for uri in request["models"]:
    model = mlflow.pyfunc.load_model(uri)
    answers.append([model.predict(pandas.DataFrame(rows))["probability"].tolist() for rows in request["requests"]])
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of every model over the same data."""
    home = tmp_path_factory.mktemp("home")
    short = ["data.num_impressions=1500", "trainer.max_epochs=1", f"trainer.max_history={MAX_HISTORY}"]
    return [train(small_config(home, f"model={name}", *short)) for name in NAMES]


@pytest.fixture(scope="module")
def dataset(trained) -> PreparedDataset:
    config = trained[0].config
    return prepare(config.data, config.protocol, config.home)


def raw_rows(dataset, num_rows):
    """The first validation rows as a caller has them: raw ids, the whole history."""
    raw, split = dataset.items()["raw"].to_list(), dataset.split("validation")
    bounds = zip(split.rows["history_start"][:num_rows], split.rows["history_end"][:num_rows], strict=True)
    histories = [[raw[item] for item in split.behaviours[start:end]] for start, end in bounds]
    return [{"item": raw[item], "history": history} for item, history in zip(split.rows[ITEM][:num_rows], histories, strict=True)]


def test_plain_mlflow_gives_the_training_codes_predictions_without_importing_it(trained, dataset):
    rows = raw_rows(dataset, NUM_ROWS)
    candidates = [row["item"] for row in rows]
    one_user = {"item": candidates, "history": max((row["history"] for row in rows), key=len)}
    requests = [rows, [one_user], [one_user | {"item": item} for item in candidates]]
    request = {"store": open_store(trained[0].config.tracking, trained[0].config.home).uri, "models": [], "requests": requests}
    request["models"] = [run.model_uri for run in trained]
    environment = os.environ | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}

    done = subprocess.run(
        [sys.executable, "-c", SERVE], input=json.dumps(request), capture_output=True, text=True, timeout=180, env=environment, check=False
    )

    assert done.returncode == 0, done.stderr
    batch = dataset.split("validation").take(slice(0, NUM_ROWS), MAX_HISTORY)
    for run, (plain, (listed,), one_by_one) in zip(trained, json.loads(done.stdout), strict=True):
        model = run.config.model.build(dataset.schema)
        model.load_state_dict(read_bundle(open_store(run.config.tracking, run.config.home), run.model_uri).state_dict)
        with torch.inference_mode():
            expected = torch.sigmoid(model.eval()(batch).logit.double()).numpy()
        assert np.ptp(expected) > 1e-4
        np.testing.assert_allclose(plain, expected, atol=1e-6, rtol=0, err_msg=run.config.model.name)
        np.testing.assert_allclose(listed, one_by_one, atol=1e-6, rtol=0, err_msg=run.config.model.name)
