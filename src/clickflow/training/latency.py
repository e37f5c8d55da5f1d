"""Time to score the candidates of one user, which share the user's history as they do when a model is served."""

import time
from dataclasses import replace

import torch
from torch import nn

from clickflow.data.batches import Batch
from clickflow.data.dataset import Split

NUM_CANDIDATES = 200
NUM_REPEATS = 30


def latency_milliseconds(model: nn.Module, split: Split, max_history: int) -> float:
    """Shortest time of 30 forward passes over the first 200 targets of a split, or all it has, for the user with the median history.

    The shortest time is taken because other processes on the machine can only add to it.
    """
    batch = of_one_user(split.take(slice(0, min(NUM_CANDIDATES, len(split))), max_history))
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


def of_one_user(batch: Batch) -> Batch:
    """The same B rows as candidates of one user, whose history is the one of median length among theirs."""
    median = int(batch.lengths.argsort()[len(batch) // 2])
    user = batch.part(median, median + 1)
    return replace(batch, history=user.history, offsets=user.offsets, history_of=torch.zeros(len(batch), dtype=torch.int64))
