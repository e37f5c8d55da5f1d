"""The LightningModule of all models against the loss and the metrics computed by hand."""

import pytest
import torch
from sklearn.metrics import log_loss, roc_auc_score
from tests.models.examples import FULL_SCHEMA, random_batch
from torch import nn

from clickflow.errors import TrainingError
from clickflow.models.config import BaseConfig
from clickflow.models.contract import ModelOutput
from clickflow.training.config import AdamConfig
from clickflow.training.module import ClickModule
from clickflow.training.optimizers import DenseAndSparse

LENGTHS = [3, 0, 2, 5, 1, 4, 0, 2]


class Constant(nn.Module):
    """Model with the same output for every batch."""

    def __init__(self, logit, auxiliary_loss=None):
        super().__init__()
        self.output = ModelOutput(logit, auxiliary_loss)

    def forward(self, batch):
        return self.output


@pytest.fixture
def batch():
    return random_batch(FULL_SCHEMA, LENGTHS)


@pytest.fixture
def module():
    torch.manual_seed(0)
    return ClickModule(BaseConfig(embedding_dim=4).build(FULL_SCHEMA), AdamConfig())


def test_the_loss_is_the_mean_log_loss(module, batch):
    logit = module.model.eval()(batch).logit

    loss = module.training_step(batch, 0)["loss"]

    assert loss.item() == pytest.approx(log_loss(batch.label, torch.sigmoid(logit).detach().double()), rel=1e-5)


def test_the_auxiliary_loss_is_added(batch):
    logit = torch.linspace(-2, 2, len(batch))
    click_loss = ClickModule(Constant(logit), AdamConfig()).training_step(batch, 0)["loss"]

    losses = ClickModule(Constant(logit, torch.tensor(0.25)), AdamConfig()).training_step(batch, 0)

    assert float(losses["loss"]) == pytest.approx(float(click_loss) + 0.25)
    assert float(losses["click_loss"]) == float(click_loss)
    assert float(losses["auxiliary_loss"]) == 0.25


def test_the_loss_of_a_confident_wrong_prediction_is_finite(batch):
    logit = torch.where(batch.label > 0, -1000.0, 1000.0)

    assert float(ClickModule(Constant(logit), AdamConfig()).training_step(batch, 0)["loss"]) == pytest.approx(1000.0)


def test_validation_metrics_are_those_of_all_rows_at_once(module, monkeypatch):
    batches = [random_batch(FULL_SCHEMA, LENGTHS, seed=seed) for seed in range(3)]
    logged = {}
    monkeypatch.setattr(module, "log_dict", lambda values, logger: logged.update(values))
    module.eval()

    with torch.no_grad():
        for number, batch in enumerate(batches):
            module.validation_step(batch, number)
        module.on_validation_epoch_end()
        preds = torch.cat([torch.sigmoid(module.model(batch).logit) for batch in batches])
    label = torch.cat([batch.label for batch in batches])

    assert logged["val/auc"] == pytest.approx(roc_auc_score(label, preds), abs=1e-6)
    assert logged["val/log_loss"] == pytest.approx(log_loss(label, preds.double()), rel=1e-5)
    assert set(logged) == {f"val/{name}" for name in ("auc", "gauc", "gauc_users_skipped", "pr_auc", "log_loss", "calibration")}


def test_each_validation_begins_anew(module, batch, monkeypatch):
    logged = []
    monkeypatch.setattr(module, "log_dict", lambda values, logger: logged.append(values))
    module.eval()

    with torch.no_grad():
        for _ in range(2):
            module.validation_step(batch, 0)
            module.on_validation_epoch_end()
            assert len(module.metrics.rows().preds) == 0

    assert logged[0] == logged[1]


def test_predictions_that_are_not_finite_are_refused(batch):
    logit = torch.zeros(len(batch))
    logit[2] = float("nan")

    with pytest.raises(
        TrainingError, match=r"validation at step 0, preds = nan: .*; first in forward order: the output of the model \(logit\)"
    ):
        ClickModule(Constant(logit), AdamConfig()).validation_step(batch, 0)


def test_the_optimizer_is_one_to_lightning(module):
    (optimizer,), schedulers = module.configure_optimizers()

    assert schedulers == []
    assert isinstance(optimizer, DenseAndSparse)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(module.parameters()))


def test_a_batch_is_moved_to_the_device(module, batch):
    moved = module.transfer_batch_to_device(batch, torch.device("meta"), 0)

    for name in ("target", "history", "offsets", "context", "numeric", "label", "group"):
        assert getattr(moved, name).device.type == "meta", name
