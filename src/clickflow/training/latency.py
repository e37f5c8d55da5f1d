"""How long a model takes to score one user's candidates."""

import time

import torch
from torch import nn

from clickflow.data.dataset import Split

NUM_CANDIDATES = 200
NUM_REPEATS = 30


def latency_milliseconds(model: nn.Module, split: Split, max_history: int) -> float:
    """Shortest of 30 forward passes over the first 200 rows of a split, or all it has: what a request with so many candidates costs.

    The shortest, because other processes share the machine and only ever add to it.

    Args:
        model: as built by ``build_model``.
        split: whose rows to score.
        max_history: behaviours a row, the latest ones.
    """
    batch = split.take(slice(0, min(NUM_CANDIDATES, len(split))), max_history)
    was_training = model.training
    model.eval()
    seconds = []
    with torch.inference_mode():
        for _ in range(NUM_REPEATS):
            start = time.perf_counter()
            model(batch)
            seconds.append(time.perf_counter() - start)
    model.train(was_training)
    return 1000 * min(seconds)
