"""Learning-rate schedules: the factor of the rate at each step, for the dense and the sparse path alike.

Schedulers are torch's, in Lightning's list, so their state is in every checkpoint. Constant, exponential and cosine are functions of the
step; plateau depends on the validations. A warm-up of w steps multiplies any of them by 1/w, 2/w, ..., 1: linear from 0, but without a
step at 0.
"""

import math
from abc import abstractmethod
from typing import Annotated, Literal

from pydantic import Field
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LinearLR, LRScheduler, ReduceLROnPlateau

from clickflow.config import Contradictions, StrictConfig

Steps = Annotated[int, Field(gt=0)]
Mode = Literal["min", "max"]


class Warmup(StrictConfig):
    """What every schedule's config has and can do."""

    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Steps in which the rate rises linearly to its full height."""

    @abstractmethod
    def build(self, optimizer: Optimizer, num_steps: int, mode: Mode) -> list[LRScheduler]:
        """The schedulers of an optimizer; all but ``ReduceLROnPlateau`` are to be stepped after each training step.

        Args:
            optimizer: whose groups get the rates.
            num_steps: of the whole training.
            mode: whether the monitored metric is better low or high.
        """


class FunctionOfTheStep(Warmup):
    """A schedule that only looks at the number of steps done."""

    def build(self, optimizer: Optimizer, num_steps: int, mode: Mode) -> list[LRScheduler]:
        """One scheduler."""
        return [LambdaLR(optimizer, lambda step: self._warmup(step) * self.factor(step, num_steps))]

    @abstractmethod
    def factor(self, step: int, num_steps: int) -> float:
        """Share of the full rate after ``step`` steps, warm-up left out."""

    def _warmup(self, step: int) -> float:
        return min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0


class ConstantConfig(FunctionOfTheStep):
    """The same rate all along."""

    name: Literal["constant"] = "constant"

    def factor(self, step: int, num_steps: int) -> float:
        """One."""
        return 1.0


class ExponentialConfig(FunctionOfTheStep):
    """decay_rate ^ (step / decay_steps), without stairs, as in Zhou et al., Deep Interest Network, KDD 2018."""

    name: Literal["exponential"] = "exponential"
    decay_rate: Annotated[float, Field(gt=0, le=1)] = 0.1
    """What the rate is multiplied with every ``decay_steps`` steps."""
    decay_steps: Steps = 10_000

    def factor(self, step: int, num_steps: int) -> float:
        """Continuous decay from step 0 on."""
        return float(self.decay_rate ** (step / self.decay_steps))


class CosineConfig(FunctionOfTheStep):
    """Half a cosine from the full rate down to ``final_fraction`` of it (Loshchilov & Hutter 2017, without restarts)."""

    name: Literal["cosine"] = "cosine"
    final_fraction: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the full rate at the end."""
    total_steps: Steps | None = None
    """Steps to the end, warm-up included; null: ``trainer.max_epochs`` epochs. The rate stays at its end afterwards."""

    def _contradictions(self) -> Contradictions:
        if self.total_steps is not None and self.total_steps <= self.warmup_steps:
            message = f"= {self.total_steps}: must be greater than warmup_steps = {self.warmup_steps}; raise it or shorten the warm-up"
            yield "total_steps", message

    def factor(self, step: int, num_steps: int) -> float:
        """The cosine begins where the warm-up ends."""
        decaying = max(1, (self.total_steps or num_steps) - self.warmup_steps)
        progress = min(1.0, max(0, step - self.warmup_steps) / decaying)
        return self.final_fraction + (1 - self.final_fraction) * (1 + math.cos(math.pi * progress)) / 2


class PlateauConfig(Warmup):
    """Multiplies the rate with ``factor`` whenever the monitored metric has not improved for ``patience`` validations."""

    name: Literal["plateau"] = "plateau"
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    patience: Annotated[int, Field(gt=0)] = 1
    """Validations without improvement, counted as ``trainer.patience`` counts them; must be lower than that to have any effect."""

    def build(self, optimizer: Optimizer, num_steps: int, mode: Mode) -> list[LRScheduler]:
        """The plateau, and a warm-up in its chainable form: both multiply the rate that they find."""
        # torch counts the validations that it forgives; any improvement counts, as for early stopping.
        plateau = ReduceLROnPlateau(optimizer, mode, factor=self.factor, patience=self.patience - 1, threshold=0.0)
        if self.warmup_steps < 2:
            return [plateau]
        return [LinearLR(optimizer, start_factor=1 / self.warmup_steps, total_iters=self.warmup_steps - 1), plateau]


ScheduleConfig = Annotated[ConstantConfig | ExponentialConfig | CosineConfig | PlateauConfig, Field(discriminator="name")]
