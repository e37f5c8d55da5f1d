"""Time of a step of clickflow's lazy optimizers of tables against torch's own, and by the size of the vocabulary.

    python benchmarks/optimizers.py [repetitions]

A batch looks up 1,024 targets with 9 behaviours each in one table. Only the optimizer's step is timed, on raw gradients as the backward
pass leaves them, so the time of clickflow's optimizers includes coalescing. All are interleaved within one process of one thread, except
the dense one, which would evict the caches. The figures are medians and minima, each with its ratio to the first line.
"""

import statistics
import sys
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import Adagrad, Adam, Optimizer, SparseAdam

from clickflow.training.sparse_optimizers import LazyAdagrad, LazyAdam, LazyMomentum, LazyRMSprop, LazySGD, RowwiseAdagrad

LOOKUPS = 1024 * (1 + 9)
VOCABULARIES = (10**5, 10**6, 10**7)
ADAM = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
OURS: dict[str, Callable[[list[Tensor]], Optimizer]] = {
    "our Adam": lambda p: LazyAdam(p, lr=1e-3, **ADAM),
    "our Adagrad": lambda p: LazyAdagrad(p, lr=1e-2, eps=1e-10),
    "our row-wise Adagrad": lambda p: RowwiseAdagrad(p, lr=1e-2, eps=1e-10),
    "our RMSprop": lambda p: LazyRMSprop(p, lr=1e-3, alpha=0.99, eps=1e-8),
    "our momentum": lambda p: LazyMomentum(p, lr=1e-2, momentum=0.9, nesterov=False),
    "our SGD": lambda p: LazySGD(p, lr=0.1),
}
TORCH: dict[str, Callable[[list[Tensor]], Optimizer]] = {
    "torch SparseAdam": lambda p: SparseAdam(p, lr=1e-3),
    "torch Adagrad, sparse": lambda p: Adagrad(p, lr=1e-2),
}
DENSE: dict[str, Callable[[list[Tensor]], Optimizer]] = {"torch Adam, dense": lambda p: Adam(p, lr=1e-3)}


class Contender:
    """One optimizer of one table."""

    def __init__(self, name: str, make: Callable[[list[Tensor]], Optimizer], vocabulary: int, dim: int) -> None:
        self.name = name
        self.is_dense = name in DENSE
        self.table = torch.nn.Parameter(torch.randn(vocabulary, dim))
        self.optimizer = make([self.table])
        self.seconds: list[float] = []

    def step(self, ids: Tensor, values: Tensor) -> None:
        """One timed step with the gradient of a batch."""
        gradient = torch.sparse_coo_tensor(ids[None], values, self.table.shape, check_invariants=False)
        self.table.grad = gradient.to_dense() if self.is_dense else gradient
        start = time.perf_counter()
        self.optimizer.step()
        self.seconds.append(time.perf_counter() - start)


def draw_ids(vocabulary: int, skewed: bool) -> Tensor:
    return (torch.rand(LOOKUPS, dtype=torch.float64) ** (3 if skewed else 1) * vocabulary).long()


def race(title: str, contenders: list[Contender], repetitions: int, vocabulary: int, dim: int, skewed: bool) -> None:
    """Interleave the contenders, each with the same batches, and print medians."""
    for _ in range(repetitions + 3):
        ids, values = draw_ids(vocabulary, skewed), torch.randn(LOOKUPS, dim)
        for contender in contenders:
            contender.step(ids, values)
    print(title)
    timed = [contender.seconds[3:] for contender in contenders]  # the first steps create the state
    for contender, seconds in zip(contenders, timed, strict=True):
        cells = [f"{of(seconds) * 1e3:9.2f} ms ({of(seconds) / of(timed[0]):.2f})" for of in (statistics.median, min)]
        print(f"  {contender.name:24} median {cells[0]}, minimum {cells[1]}", flush=True)


def main(repetitions: int) -> None:
    """Print both tables."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="Sparse invariant checks are implicitly disabled")
    lazy = {**OURS, **TORCH}
    contenders = [Contender(name, make, 63_001, 32) for name, make in lazy.items()]
    race("vocabulary 63,001, dim 32, skewed ids", contenders, repetitions, 63_001, 32, skewed=True)
    for vocabulary in VOCABULARIES:
        chosen = {name: lazy[name] for name in ("our Adam", "our row-wise Adagrad", "torch SparseAdam")}
        contenders = [Contender(name, make, vocabulary, 16) for name, make in chosen.items()]
        race(f"vocabulary {vocabulary:,}, dim 16, uniform ids", contenders, repetitions, vocabulary, 16, skewed=False)
        dense = [Contender(name, make, vocabulary, 16) for name, make in DENSE.items()]
        race("  and of the whole table", dense, 3, vocabulary, 16, skewed=False)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
