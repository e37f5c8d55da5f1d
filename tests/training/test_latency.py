"""The time a model takes to score one user's candidates."""

from types import SimpleNamespace

import pytest
from torch import nn

from clickflow.training import latency
from clickflow.training.latency import NUM_CANDIDATES, NUM_REPEATS, latency_milliseconds


class Timed(nn.Module):
    """Model that takes known times, one after the other, and stores its batches."""

    def __init__(self, clock, seconds):
        super().__init__()
        self.clock, self.seconds = clock, iter(seconds)
        self.sizes, self.modes, self.histories = [], [], []

    def forward(self, batch):
        self.sizes.append(len(batch))
        self.modes.append(self.training)
        self.histories.append(batch.history)
        self.clock.now += next(self.seconds)


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the model moves."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(latency, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


@pytest.mark.parametrize("training", [True, False])
def test_the_latency_is_that_of_the_shortest_forward_pass_and_the_model_stays_as_it_was(small_dataset, training, clock):
    seconds = [0.009, 0.004, 0.002, *[0.005] * (NUM_REPEATS - 3)]
    model = Timed(clock, seconds).train(training)
    assert latency_milliseconds(model, small_dataset.split("validation"), 20) == pytest.approx(2.0)
    assert model.sizes == [min(NUM_CANDIDATES, len(small_dataset.split("validation")))] * NUM_REPEATS
    assert not any(model.modes)
    lengths = small_dataset.split("validation").take(slice(0, NUM_CANDIDATES), 20).lengths
    assert {history.shape[1] for history in model.histories} == {lengths.sort().values[len(lengths) // 2].item()}
    assert model.training == training
