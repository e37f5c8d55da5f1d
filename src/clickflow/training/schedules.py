"""Learning-rate schedules: the factor of the rate at each step, for the dense and the sparse path alike.

Schedulers are torch's, in Lightning's list, so their state is in every checkpoint. Constant, exponential and cosine are functions of the
step; plateau depends on the validations. A warm-up of w steps multiplies any of them by 1/w, 2/w, ..., 1: linear from 0, but without a
step at 0.
"""

import math
from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LinearLR, LRScheduler, ReduceLROnPlateau

from clickflow.training.config import ConstantConfig, CosineConfig, ExponentialConfig, PlateauConfig, ScheduleConfig


def build_schedulers(config: ScheduleConfig, optimizer: Optimizer, num_steps: int, mode: Literal["min", "max"]) -> list[LRScheduler]:
    """The schedulers of an optimizer in a training of ``num_steps``; all but ``ReduceLROnPlateau`` are to be stepped after each step."""
    if not isinstance(config, PlateauConfig):
        return [LambdaLR(optimizer, lambda step: _warmup(config.warmup_steps, step) * factor(config, step, num_steps))]
    # torch counts the validations that it forgives; any improvement counts, as for early stopping.
    plateau = ReduceLROnPlateau(optimizer, mode, factor=config.factor, patience=config.patience - 1, threshold=0.0)
    if config.warmup_steps < 2:
        return [plateau]
    # The warm-up in its chainable form: both multiply the rate that they find.
    return [LinearLR(optimizer, start_factor=1 / config.warmup_steps, total_iters=config.warmup_steps - 1), plateau]


def factor(config: ConstantConfig | ExponentialConfig | CosineConfig, step: int, num_steps: int) -> float:
    """Share of the full rate after ``step`` steps, warm-up left out."""
    match config:
        case ConstantConfig():
            return 1.0
        case ExponentialConfig():  # continuous decay from step 0 on
            return float(config.decay_rate ** (step / config.decay_steps))
        case CosineConfig():  # begins where the warm-up ends
            decaying = max(1, (config.total_steps or num_steps) - config.warmup_steps)
            progress = min(1.0, max(0, step - config.warmup_steps) / decaying)
            return config.final_fraction + (1 - config.final_fraction) * (1 + math.cos(math.pi * progress)) / 2


def _warmup(warmup_steps: int, step: int) -> float:
    return min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
