"""Time of a DIN training step by the inputs of the activation unit, factorised and plain.

    python -m benchmarks.activation_unit [rounds]

The log is that of ``benchmarks/train.py``: 32 + 32 dims, so D = 64, attention 80-40, batch 1,024, mean history 9 capped at 100. The plain
form builds [q, k, q - k, q * k] or [q, vec(q k^T), k] (4,224 features) for every behaviour. All forms take turns on the same batches in one
process with two threads; a step is forward, backward and optimizer. The figures are medians, with the minima in brackets.
"""

import statistics
import sys
import tempfile
import time

import torch
import torch.nn.functional as F
from benchmarks.train import SHAPE
from torch import Tensor

from clickflow.cli.compose import composed_config
from clickflow.config import validate
from clickflow.data.batches import Batch
from clickflow.data.dataset import BatchLoader
from clickflow.data.prepare import prepare
from clickflow.data.schema import Schema
from clickflow.models.layers.pairs import Pairs
from clickflow.runs.config import RunConfig
from clickflow.training.optimizers import build_optimizer

NUM_BATCHES = 10


def plain_features(inputs: str, target: Tensor, history: Tensor, pairs: Pairs) -> Tensor:
    """Features (N, features) of every behaviour."""
    query = pairs.of_rows(target)
    match inputs:
        case "difference":
            return torch.cat([query, query - history, history], dim=1)
        case "outer":
            return torch.cat([query, (query.unsqueeze(2) * history.unsqueeze(1)).flatten(1), history], dim=1)
        case _:
            return torch.cat([query, history, query - history, query * history], dim=1)


class Form:
    """A model, its optimizer, and the seconds of its steps."""

    def __init__(self, config: RunConfig, schema: Schema, *, is_plain: bool) -> None:
        self.model = config.model.build(schema)
        self.optimizer = build_optimizer(config.optimizer, self.model)
        self.seconds: list[float] = []
        if is_plain:
            unit = self.model.activation_unit
            name = f"_{unit.inputs}"
            setattr(unit, name, lambda target, history, _: lambda pairs: unit.first(plain_features(unit.inputs, target, history, pairs)))

    def step(self, batch: Batch) -> None:
        """One training step, timed."""
        start = time.perf_counter()
        self.optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(self.model(batch).logit, batch.label).backward()
        self.optimizer.step()
        self.seconds.append(time.perf_counter() - start)


def main(rounds: int) -> None:
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as home:
        measure(validate(RunConfig, composed_config("train", [f"home={home}", *SHAPE])), rounds)


def measure(config: RunConfig, rounds: int) -> None:
    """Time all forms in turn and print the figures."""
    dataset = prepare(config.data, config.protocol, config.home)
    forms = {}
    for inputs in ("difference", "product", "outer"):
        of_inputs = config.model_copy(update={"model": config.model.model_copy(update={"attention_input": inputs})})
        forms |= {f"{inputs}{', plain' if plain else ''}": Form(of_inputs, dataset.schema, is_plain=plain) for plain in (False, True)}
    batches = []
    for batch in BatchLoader(dataset.split("train"), batch_size=1024, max_history=100, seed=0):
        batches.append(batch)
        if len(batches) == NUM_BATCHES:
            break
    for round_number in range(rounds + 1):
        for batch in batches:
            for form in forms.values():
                form.step(batch)
        if round_number == 0:  # memory and the optimizers' state are allocated in the first round
            for form in forms.values():
                form.seconds.clear()
    product = statistics.median(forms["product"].seconds)
    for name, form in forms.items():
        median, least = statistics.median(form.seconds), min(form.seconds)
        print(f"{name:20} {1e3 * median:8.1f} ms ({1e3 * least:.1f})  {median / product:6.2f} times product")
    for inputs in ("difference", "product", "outer"):
        plain, factorised = (statistics.median(forms[name].seconds) for name in (f"{inputs}, plain", inputs))
        print(f"{inputs}: the factorised form is {plain / factorised:.2f} times as fast as the plain one")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
