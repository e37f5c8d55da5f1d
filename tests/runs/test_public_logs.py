"""Public logs, from files in their layout to a trained model: one with four tables, one of events, one without users and times."""

import math

import pytest
from tests.data.layouts.test_public_logs import YAMLS, make
from tests.runs.small import SMALL

from clickflow.cli.compose import composed_config
from clickflow.config import validate
from clickflow.runs.config import RunConfig
from clickflow.runs.train import train

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["alimama", "taobao", "criteo"])
def test_a_model_is_trained_on_a_public_log(tmp_path, monkeypatch, name):
    make(name, tmp_path)
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "conf" / "data" / f"{name}.yaml").write_text(YAMLS[name])
    monkeypatch.chdir(tmp_path)
    own = [override for override in SMALL if not override.startswith(("data.", "trainer.max_epochs"))]
    overrides = [f"home={tmp_path / 'home'}", *own, "trainer.max_epochs=1", f"data={name}", "model=din"]
    trained = train(validate(RunConfig, composed_config("train", overrides, None)))
    # Labels are random, so a model that knows them has been given the answer.
    assert 0.2 < trained.validation["auc"] < 0.8
    assert math.isfinite(trained.validation["log_loss"])
