"""Time of a training step without a penalty, with mini-batch-aware regularisation and with full L2, by the size of the vocabulary.

    python benchmarks/regularisation.py [repetitions]

A step looks up 1,024 targets with 9 behaviours each in one table of dim 16, then runs sum pooling, a small tower, the backward pass, the
penalty and SGD, whose own cost is small. ``none`` and ``mini_batch_aware`` have sparse updates, ``l2`` needs dense ones; ``none, dense``
shows the share of the dense update. All are interleaved within one process of one thread; the figures are medians, with the ratio to
``none``.
"""

import statistics
import sys
import time

import torch
from torch import nn

from clickflow.data.batches import Batch
from clickflow.data.schema import CategoricalField, Schema
from clickflow.models.config import BaseConfig
from clickflow.training.config import RegularisationConfig, SGDConfig
from clickflow.training.optimizers import build_optimizer
from clickflow.training.regularisation import Regulariser

BATCH_SIZE, HISTORY, DIM = 1024, 9, 16
VOCABULARIES = (10**4, 10**5, 10**6, 10**7)
VARIANTS = {
    "none": ("sparse", RegularisationConfig()),
    "mini_batch_aware": ("sparse", RegularisationConfig(embedding="mini_batch_aware", embedding_lambda=0.01)),
    "none, dense": ("dense", RegularisationConfig()),
    "l2": ("dense", RegularisationConfig(embedding="l2", embedding_lambda=1e-6)),
}


class Contender:
    """One model with one penalty."""

    def __init__(self, update: str, config: RegularisationConfig, vocabulary: int) -> None:
        schema = Schema(categorical=(CategoricalField(name="item", role="item", vocabulary_size=vocabulary),))
        self.model: nn.Module = BaseConfig(embedding_dim=DIM, hidden_units=(32,), activation="relu").build(schema)
        self.optimizer = build_optimizer(SGDConfig.model_validate({"embedding_update": update}), self.model)
        self.regulariser = Regulariser(config, self.model, {"item": torch.randint(1, 100, (vocabulary,)).float()})
        self.seconds: list[float] = []

    def step(self, batch: Batch) -> None:
        """One timed training step."""
        start = time.perf_counter()
        loss = nn.functional.binary_cross_entropy_with_logits(self.model(batch).logit, batch.label)
        self.optimizer.zero_grad()
        loss.backward()
        self.regulariser.add_gradients()
        self.optimizer.step()
        self.seconds.append(time.perf_counter() - start)


def uniform_batch(vocabulary: int) -> Batch:
    return Batch(
        target=torch.randint(vocabulary, (1, BATCH_SIZE)),
        history=torch.randint(vocabulary, (1, BATCH_SIZE * HISTORY)),
        offsets=torch.arange(BATCH_SIZE + 1) * HISTORY,
        context=torch.zeros(0, BATCH_SIZE, dtype=torch.int64),
        numeric=torch.zeros(BATCH_SIZE, 0),
        label=torch.randint(2, (BATCH_SIZE,)).float(),
    )


def main(repetitions: int) -> None:
    """Print one line per size of the vocabulary."""
    torch.set_num_threads(1)
    print(f"{'vocabulary':>12} " + " ".join(f"{name:>24}" for name in VARIANTS))
    for vocabulary in VOCABULARIES:
        contenders = [Contender(update, config, vocabulary) for update, config in VARIANTS.values()]
        for number in range(repetitions if vocabulary < 10**7 else max(5, repetitions // 4)):
            batch = uniform_batch(vocabulary)
            for contender in contenders[number % 4 :] + contenders[: number % 4]:
                contender.step(batch)
        medians = [statistics.median(contender.seconds[1:]) for contender in contenders]
        cells = [f"{f'{median * 1e3:,.2f} ms ({median / medians[0]:.2f})':>24}" for median in medians]
        print(f"{vocabulary:>12,} " + " ".join(cells), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
