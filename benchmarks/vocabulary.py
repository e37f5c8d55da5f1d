"""Step time of every model by the size of the vocabulary: it must not grow, since a step reads and writes rows of the batch only.

    python benchmarks/vocabulary.py [--models lr,din] [--rounds 12] [optimizer=adagrad ...]

A step is a full training step: forward, loss, backward, optimizer. Batches have 1,024 rows and a mean history of 9; ids are drawn
uniformly, which is the hardest case: real logs visit a few rows often, and those stay in the cache. The item ids grow from 10^5 to 10^7,
beside 1,000 categories. The three sizes of a model take turns, some steps each, because the speed of these machines varies; the figures
are medians over all steps. Time is the process's CPU time on one thread, which excludes waiting for a busy machine. Only access to memory
can still grow: a row of 16 floats is one cache line, and tables of 10^7 rows fit into no cache.
"""

import argparse
import os
import statistics
import time

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table

from clickflow.cli.compose import composed_config
from clickflow.config import validate
from clickflow.data.batches import Batch
from clickflow.data.schema import CategoricalField, Schema
from clickflow.runs.config import RunConfig
from clickflow.training.optimizers import build_optimizer

MODELS = ("lr", "base", "wide_deep", "pnn", "deepfm", "din", "dien")
SIZES = (100_000, 1_000_000, 10_000_000)
NUM_CATEGORIES = 1_000
BATCH_SIZE = 1_024
MEAN_HISTORY = 9
NUM_BATCHES = 20
STEPS_A_TURN = 10
PARTS = ("forward", "backward", "optimizer")


def schema_of(num_items: int) -> Schema:
    return Schema(
        categorical=(
            CategoricalField(name="item", role="item", vocabulary_size=num_items),
            CategoricalField(name="category", role="item", vocabulary_size=NUM_CATEGORIES),
        )
    )


def random_batch(schema: Schema, draw: torch.Generator) -> Batch:
    """Random batch with lengths from 0 to twice the mean and uniform ids."""
    lengths = torch.randint(0, 2 * MEAN_HISTORY + 1, (BATCH_SIZE,), generator=draw)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])

    def ids(size: int) -> torch.Tensor:
        return torch.stack([torch.randint(1, field.vocabulary_size, (size,), generator=draw) for field in schema.item_fields])

    return Batch(
        target=ids(BATCH_SIZE),
        history=ids(int(offsets[-1])),
        negative_history=ids(int(offsets[-1])),
        offsets=offsets,
        context=torch.zeros(0, BATCH_SIZE, dtype=torch.int64),
        numeric=torch.zeros(BATCH_SIZE, 0),
        label=torch.randint(0, 2, (BATCH_SIZE,), generator=draw).float(),
        group=torch.zeros(BATCH_SIZE, dtype=torch.int64),
    )


class Trainee:
    """A model of one size, its optimizer and its batches."""

    def __init__(self, config: RunConfig, num_items: int) -> None:
        schema, draw = schema_of(num_items), torch.Generator().manual_seed(0)
        self.model = config.model.build(schema)
        self.optimizer = build_optimizer(config.optimizer, self.model)
        self.batches = [random_batch(schema, draw) for _ in range(NUM_BATCHES)]
        self.num_steps = 0
        self.seconds: dict[str, list[float]] = {part: [] for part in PARTS}

    def step(self) -> None:
        """Run one step and time its parts."""
        batch = self.batches[self.num_steps % NUM_BATCHES]
        self.num_steps += 1
        times = [time.process_time()]
        output = self.model(batch)
        loss = F.binary_cross_entropy_with_logits(output.logit, batch.label)
        if output.auxiliary_loss is not None:
            loss = loss + output.auxiliary_loss
        times.append(time.process_time())
        self.optimizer.zero_grad()
        loss.backward()
        times.append(time.process_time())
        self.optimizer.step()
        times.append(time.process_time())
        for part, start, end in zip(PARTS, times, times[1:], strict=False):
            self.seconds[part].append(end - start)

    def milliseconds(self, *parts: str) -> float:
        """Median over the steps of the sum of some parts."""
        return 1_000 * statistics.median(map(sum, zip(*(self.seconds[part] for part in parts), strict=True)))


def measure(config: RunConfig, rounds: int) -> list[Trainee]:
    """Measure all sizes in turn; the first turn, in which optimizers create their state, does not count."""
    trainees = [Trainee(config, size) for size in SIZES]
    for turn in range(rounds + 1):
        for trainee in trainees:
            for _ in range(STEPS_A_TURN):
                trainee.step()
            if turn == 0:
                trainee.seconds = {part: [] for part in PARTS}
    return trainees


def main(models: list[str], rounds: int, overrides: list[str]) -> None:
    """Measure one model after the other, so that only three are in memory, and print one table."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as the pipelines do
    torch.set_num_threads(1)
    table = Table(title=f"median CPU ms a step, batch {BATCH_SIZE:,}, {rounds * STEPS_A_TURN} steps")
    table.add_column("model")
    for heading in (*(f"{size:,} items" for size in SIZES), "ratio", *(f"{part} {SIZES[0]:.0e} → {SIZES[-1]:.0e}" for part in PARTS)):
        table.add_column(heading, justify="right")
    for name in models:
        trainees = measure(validate(RunConfig, composed_config("train", ["home=.", f"model={name}", *overrides])), rounds)
        totals = [trainee.milliseconds(*PARTS) for trainee in trainees]
        parts = [f"{trainees[0].milliseconds(part):.2f} → {trainees[-1].milliseconds(part):.2f}" for part in PARTS]
        table.add_row(name, *(f"{total:.2f}" for total in totals), f"{totals[-1] / totals[0]:.2f}", *parts)
        print(f"{name}: ratio {totals[-1] / totals[0]:.2f}", flush=True)
    Console(width=140).print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=lambda names: names.split(","), default=list(MODELS), help="names, comma-separated")
    parser.add_argument("--rounds", type=int, default=12, help=f"turns of {STEPS_A_TURN} steps per size")
    parser.add_argument("overrides", nargs="*", help="overrides of any config key, as in pipelines/train.py")
    arguments = parser.parse_args()
    main(arguments.models, arguments.rounds, arguments.overrides)
