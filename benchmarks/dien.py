"""Training of DIEN against a padded DIEN built from torch's modules, the time of each part, and the recurrence against ``nn.GRU``.

    python -m benchmarks.dien [batches]

The log is that of ``benchmarks/train.py``, in the shape of Amazon Electronics. The padded DIEN has the same embeddings, auxiliary score and
tower, ``nn.GRU`` over histories padded to the batch's longest, and a loop over all steps for the AUGRU, with a mask. Both train on the same
batches in turn, in one process with two threads, the padded one on every tenth batch only. A rate is that of the median batch, followed in
brackets by that of the fastest tenth, since these machines are noisy.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
from benchmarks.train import ROOT, SHAPE
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, softplus
from torch.nn.utils.rnn import PackedSequence

from clickflow.cli.compose import composed_config
from clickflow.config import validate
from clickflow.data.batches import Batch
from clickflow.data.dataset import BatchLoader, PreparedDataset
from clickflow.data.prepare import prepare
from clickflow.data.schema import Schema
from clickflow.models.config import DIENConfig
from clickflow.models.contract import ModelOutput
from clickflow.models.dien import DIEN
from clickflow.models.layers.recurrent import StepOrder
from clickflow.runs.config import RunConfig
from clickflow.training.config import AdamConfig
from clickflow.training.optimizers import build_optimizer

CONFIG = DIENConfig(embedding_dim=32)
BATCH_SIZE = 1024
CAPS = (20, 100)
PADDED_EVERY = 10


class PaddedDIEN(DIEN):
    """The same model in its common, padded form."""

    def __init__(self, config: DIENConfig, schema: Schema) -> None:
        super().__init__(config, schema)
        width = self.attention.out_features
        self.extractor = nn.GRU(self.embeddings.target_dim, width, batch_first=True)
        self.from_input = nn.Linear(width, 3 * width)
        self.from_state = nn.Linear(width, 3 * width, bias=False)

    def forward(self, batch: Batch) -> ModelOutput:
        """Pad every history to the longest one of the batch."""
        longest = int(batch.lengths.max())
        mask = torch.arange(longest) < batch.lengths.unsqueeze(1)  # (B, L)
        ids = torch.zeros(2, 2, len(batch), longest, dtype=torch.int64)  # ids of behaviours and of negatives
        ids[0][:, mask], ids[1][:, mask] = batch.history, batch.negative_history
        padded = Batch(batch.target, ids.transpose(0, 1).flatten(1), batch.offsets, batch.context, batch.numeric)
        embedded = self.embeddings(padded)
        behaviours, negatives = embedded.history.view(2, len(batch), longest, -1)
        interests, _ = self.extractor(behaviours)  # (B, L, H)
        scores = torch.einsum("blh,hd,bd->bl", interests, self.attention.weight, embedded.target)
        attention = scores.masked_fill(~mask, -1e9).softmax(1)
        projected, state = self.from_input(interests), interests.new_zeros(len(batch), interests.shape[2])
        for step in range(longest):
            (u, r, c), (u_h, r_h, c_h) = projected[:, step].chunk(3, 1), self.from_state(state).chunk(3, 1)
            update = attention[:, step, None] * torch.sigmoid(u + u_h)
            new = (1 - update) * state + update * torch.tanh(c + torch.sigmoid(r + r_h) * c_h)
            state = torch.where(mask[:, step, None], new, state)
        vectors = (part.flatten(0, 1) for part in (interests[:, :-1], behaviours[:, 1:], negatives[:, 1:]))
        positive, negative = self.auxiliary._logits(*vectors)
        has_next = mask[:, 1:].flatten()
        auxiliary = ((softplus(-positive) + softplus(negative)) * has_next).sum() / has_next.sum()
        return ModelOutput(self.mlp(embedded.tower_input(state)), auxiliary)


def loss_of(output: ModelOutput, batch: Batch) -> Tensor:
    """Sum of click loss and auxiliary loss."""
    return binary_cross_entropy_with_logits(output.logit, batch.label) + output.auxiliary_loss


def train_rates(dataset: PreparedDataset, cap: int, num_batches: int) -> None:
    """Print the rows/s of both models, with loader and optimizer."""
    torch.manual_seed(0)
    seconds: dict[str, list[float]] = {"jagged": [], "padded": []}
    sides = {}
    for name, model in (("jagged", DIEN(CONFIG, dataset.schema)), ("padded", PaddedDIEN(CONFIG, dataset.schema))):
        loader = BatchLoader(dataset.split("train"), batch_size=BATCH_SIZE, max_history=cap, seed=0, draws_negatives=True)
        sides[name] = (model, build_optimizer(AdamConfig(), model), iter(loader))
    for number in range(num_batches):
        for name, (model, optimizer, batches) in sides.items():
            if name == "padded" and number % PADDED_EVERY:
                continue
            start = time.perf_counter()
            batch = next(batches)
            loss = loss_of(model(batch), batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seconds[name].append(time.perf_counter() - start)
    rates = {name: BATCH_SIZE / statistics.median(values) for name, values in seconds.items()}
    for name, rate in rates.items():
        print(f"cap {cap}: {name} {rate:,.0f} rows/s ({BATCH_SIZE / fastest(seconds[name]):,.0f})")
    print(f"cap {cap}: jagged / padded = {rates['jagged'] / rates['padded']:.1f}")


def fastest(seconds: list[float]) -> float:
    """The tenth percentile of the times."""
    return sorted(seconds)[len(seconds) // 10]


def part_shares(dataset: PreparedDataset, cap: int, repetitions: int = 30) -> None:
    """Print the forward and backward time of each part alone, on one batch, and its share of the sum."""
    torch.manual_seed(0)
    model = DIEN(CONFIG, dataset.schema)
    optimizer = build_optimizer(AdamConfig(), model)
    loaders = {
        draws: iter(BatchLoader(dataset.split("train"), batch_size=BATCH_SIZE, max_history=cap, seed=0, draws_negatives=draws))
        for draws in (True, False)
    }
    batch = next(loaders[True])
    order = StepOrder.of(batch.offsets)
    width = model.attention.out_features
    behaviours, negatives, interests = (torch.randn(len(order.positions), width).mul_(0.1).requires_grad_() for _ in range(3))
    weights = torch.rand(len(order.positions), requires_grad=True)
    target = torch.randn(len(batch), width).mul_(0.1).requires_grad_()
    tower_input = torch.randn(len(batch), model.embeddings.tower_input_dim(width)).requires_grad_()
    gru = nn.GRU(width, width)
    packed = PackedSequence(behaviours, torch.tensor(order.sizes))
    loss_of(model(batch), batch).backward()
    first = len(order.alive)
    parts: dict[str, Callable[[], Any]] = {
        "loader": lambda: next(loaders[False]),
        "loader's negatives": lambda: next(loaders[True]),
        "step order": lambda: StepOrder.of(batch.offsets),
        "embeddings": lambda: backward(torch.cat(model.embeddings(batch)[:2])),
        "extractor": lambda: backward(model.extractor(behaviours, order)),
        "auxiliary loss": lambda: backward(
            model.auxiliary(interests.index_select(0, order.previous), behaviours[first:], negatives[first:])
        ),
        "attention": lambda: backward(model._attention(interests, target, order, batch.offsets)),
        "evolution": lambda: backward(model.evolution(interests, order, weights)),
        "tower": lambda: backward(model.mlp(tower_input)),
        "optimizer": optimizer.step,
        "nn.GRU": lambda: backward(gru(packed)[0].data),
    }
    seconds = {name: [] for name in parts}
    for _ in range(repetitions):
        for name, part in parts.items():
            start = time.perf_counter()
            part()
            seconds[name].append(time.perf_counter() - start)
    typical = {name: fastest(values) * 1000 for name, values in seconds.items()}
    typical["loader's negatives"] -= typical["loader"]
    library = typical.pop("nn.GRU")
    total = sum(typical.values())
    for name, value in typical.items():
        print(f"cap {cap}: {name} {value:.1f} ms, {value / total:.0%}")
    print(f"cap {cap}: extractor with nn.GRU {library:.1f} ms, {library / typical['extractor']:.1f} times ours")


def backward(output: Tensor) -> None:
    """Run the backward pass of a part."""
    output.sum().backward()


def main(num_batches: int) -> None:
    """Prepare once, then measure both caps."""
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as home:
        arguments = [f"home={home}", *SHAPE[:7]]
        subprocess.run([sys.executable, "pipelines/prepare.py", *arguments], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        config = validate(RunConfig, composed_config("train", arguments))
        dataset = prepare(config.data, config.protocol, config.home)
        for cap in CAPS:
            train_rates(dataset, cap, num_batches)
            part_shares(dataset, cap)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
