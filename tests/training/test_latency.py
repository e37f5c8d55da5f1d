"""The time a model takes to score one user's candidates."""

import time

import pytest
from torch import nn

from clickflow.training.latency import NUM_CANDIDATES, NUM_REPEATS, latency_milliseconds


class Slow(nn.Module):
    """Model that takes a known time and stores its batches."""

    def __init__(self):
        super().__init__()
        self.sizes, self.modes, self.histories = [], [], []

    def forward(self, batch):
        self.sizes.append(len(batch))
        self.modes.append(self.training)
        self.histories.append(batch.history)
        time.sleep(0.002)


@pytest.mark.parametrize("training", [True, False])
def test_it_is_that_of_a_forward_pass_over_the_candidates_and_leaves_the_model_as_it_was(small_dataset, training):
    model = Slow().train(training)
    assert latency_milliseconds(model, small_dataset.split("validation"), 20) >= 2.0
    assert model.sizes == [min(NUM_CANDIDATES, len(small_dataset.split("validation")))] * NUM_REPEATS
    assert not any(model.modes)
    lengths = small_dataset.split("validation").take(slice(0, NUM_CANDIDATES), 20).lengths
    assert {history.shape[1] for history in model.histories} == {lengths.sort().values[len(lengths) // 2].item()}
    assert model.training == training
