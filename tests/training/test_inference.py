"""Predictions over a split against one pass over all its rows."""

import pytest
import torch

from clickflow.data.dataset import BatchLoader
from clickflow.models.config import DINConfig
from clickflow.training.inference import predict_batches


@pytest.fixture
def model(small_dataset):
    torch.manual_seed(0)
    return DINConfig(embedding_dim=4, embedding_init_std=1.0, dropout=0.5).build(small_dataset.schema)


@pytest.mark.parametrize("batch_size", [1000, 128])
def test_every_row_is_scored_in_the_order_of_the_split(small_dataset, model, batch_size):
    split = small_dataset.split("validation")
    whole = split.take(slice(None), 20)

    preds, label, group = predict_batches(model, BatchLoader(split, batch_size=batch_size, max_history=20))

    with torch.no_grad():
        torch.testing.assert_close(preds, torch.sigmoid(model.eval()(whole).logit))
    assert torch.equal(label, whole.label)
    assert torch.equal(group, whole.group)


def test_predictions_are_probabilities(small_dataset, model):
    preds, _, _ = predict_batches(model, BatchLoader(small_dataset.split("validation"), batch_size=128, max_history=20))

    assert ((preds > 0) & (preds < 1)).all()
    assert preds.std() > 0


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(small_dataset, model, training):
    model.train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}

    predict_batches(model, BatchLoader(small_dataset.split("validation"), batch_size=128, max_history=20))

    assert model.training is training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(parameter.grad is not None for parameter in model.parameters())
