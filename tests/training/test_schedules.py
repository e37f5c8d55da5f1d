"""Learning rates against their closed forms, on both paths of the optimizer, and in whole fits."""

import math
from typing import get_args

import pytest
import torch
from tests.training.fits import MODEL, Trained, steps_per_epoch
from torch import nn

from clickflow.config import StrictConfig, validate
from clickflow.errors import ConfigError
from clickflow.models.layers.embedding import EmbeddingTable
from clickflow.training.config import AdamConfig, ConstantConfig, CosineConfig, ExponentialConfig, PlateauConfig, ScheduleConfig, SGDConfig
from clickflow.training.optimizers import build_optimizer
from clickflow.training.schedules import build_schedulers

RATE = 0.5


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = EmbeddingTable(3, 2, "item")
        self.layer = nn.Linear(2, 1)


def rates(schedule, num_steps, total=100):
    """Rate of each step, on the dense and the sparse path."""
    optimizer = build_optimizer(AdamConfig(learning_rate=RATE), Model())
    schedulers = build_schedulers(schedule, optimizer, total, "max")
    found = []
    for _ in range(num_steps):
        dense, sparse = (group["lr"] for group in optimizer.param_groups)
        assert dense == sparse
        found.append(dense)
        optimizer.step()
        for scheduler in schedulers:
            if not isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
                scheduler.step()
    return found


def test_a_constant_rate_stays():
    assert rates(ConstantConfig(), 4) == [RATE] * 4


@pytest.mark.parametrize("warmup_steps", [1, 2, 5])
@pytest.mark.parametrize("schedule_class", [ConstantConfig, PlateauConfig])
def test_a_warm_up_is_a_line_from_0_at_no_step_to_the_full_rate_at_its_last_step(schedule_class, warmup_steps):
    expected = [RATE * min(1, number / warmup_steps) for number in range(1, 8)]

    assert rates(schedule_class(warmup_steps=warmup_steps), 7) == pytest.approx(expected)


def test_exponential_decay_is_continuous():
    expected = [RATE * 0.1 ** (step / 4) for step in range(9)]

    assert rates(ExponentialConfig(decay_rate=0.1, decay_steps=4), 9) == pytest.approx(expected)
    assert expected[4] == pytest.approx(RATE * 0.1)


def test_a_warm_up_and_a_decay_are_multiplied():
    expected = [RATE * min(1, (step + 1) / 3) * 0.1 ** (step / 4) for step in range(9)]

    assert rates(ExponentialConfig(decay_rate=0.1, decay_steps=4, warmup_steps=3), 9) == pytest.approx(expected)


def test_a_cosine_falls_from_the_full_rate_to_its_final_fraction_and_stays_there():
    found = rates(CosineConfig(final_fraction=0.2), 14, total=10)

    expected = [RATE * (0.2 + 0.8 * (1 + math.cos(math.pi * min(step, 10) / 10)) / 2) for step in range(14)]
    assert found == pytest.approx(expected)
    assert (found[0], found[5], found[13]) == pytest.approx((RATE, RATE * 0.6, RATE * 0.2))


def test_a_cosine_begins_where_the_warm_up_ends():
    found = rates(CosineConfig(warmup_steps=4, total_steps=10), 11, total=1000)

    assert found[:4] == pytest.approx([RATE / 4, RATE / 2, RATE * 3 / 4, RATE])
    assert found[4:] == pytest.approx([RATE * (1 + math.cos(math.pi * step / 6)) / 2 for step in range(7)])


def test_a_plateau_lowers_the_rate_after_as_many_validations_without_improvement_as_patience():
    optimizer = build_optimizer(AdamConfig(learning_rate=1.0), Model())
    (plateau,) = build_schedulers(PlateauConfig(factor=0.5, patience=2), optimizer, 100, "max")

    found = []
    for value in [0.6, 0.7, 0.7, 0.69, 0.700001, 0.5, 0.5, 0.5, 0.5]:
        plateau.step(value)
        assert optimizer.param_groups[0]["lr"] == optimizer.param_groups[1]["lr"]
        found.append(optimizer.param_groups[0]["lr"])

    assert found == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]


class TestInAFit:
    def test_a_cosine_lasts_as_long_as_the_whole_training(self, small_dataset, tmp_path):
        trained = Trained(small_dataset, tmp_path, schedule=CosineConfig(), max_epochs=2, optimizer=AdamConfig(learning_rate=RATE))
        num_steps = 2 * steps_per_epoch(small_dataset)

        expected = [RATE * (1 + math.cos(math.pi * step / num_steps)) / 2 for step in range(num_steps)]
        assert trained.sink.values("train/learning_rate") == pytest.approx(expected, abs=1e-9)

    @pytest.mark.parametrize("validations_per_epoch", [1, 2])
    def test_a_plateau_counts_validations_of_the_monitored_metric(self, small_dataset, tmp_path, validations_per_epoch):
        trained = Trained(
            small_dataset,
            tmp_path,
            schedule=PlateauConfig(factor=0.5),
            max_epochs=4,
            monitor="val/auc",
            validations_per_epoch=validations_per_epoch,
            optimizer=AdamConfig(learning_rate=0.05),
        )

        values = trained.sink.series("val/auc")
        expected, best, rate = {}, -1.0, 0.05
        for step, value in values:
            rate, best = (rate, value) if value > best else (rate / 2, best)
            expected[step] = rate
        assert rate < 0.05
        assert len(values) == 4 * validations_per_epoch
        at_step = dict(trained.sink.series("train/learning_rate"))
        for step, rate in expected.items():
            if step + 2 in at_step:  # validations log one step later
                assert at_step[step + 2] == rate

    def test_a_rate_of_almost_nothing_leaves_the_weights_where_they_are(self, small_dataset, tmp_path):
        """The schedule reaches the optimizer: at the start of a long warm-up hardly anything moves."""
        slow = Trained(small_dataset, tmp_path / "slow", max_epochs=1, schedule=ConstantConfig(warmup_steps=10**9), optimizer=SGDConfig())
        fast = Trained(small_dataset, tmp_path / "fast", max_epochs=1, optimizer=SGDConfig())

        def moved(trained):
            torch.manual_seed(0)
            start = MODEL.build(small_dataset.schema).state_dict()
            name = "embeddings.item_tables.item.weight"
            return float((trained.model.state_dict()[name] - start[name]).norm())

        assert moved(slow) < 1e-6 * moved(fast)


class Holder(StrictConfig):
    schedule: ScheduleConfig


def test_a_warm_up_longer_than_the_cosine_is_a_contradiction():
    with pytest.raises(ConfigError, match=r"schedule\.total_steps = 5: must be greater than warmup_steps = 5; raise it or shorten"):
        validate(Holder, {"schedule": {"name": "cosine", "total_steps": 5, "warmup_steps": 5}})


@pytest.mark.parametrize("schedule_class", get_args(get_args(ScheduleConfig)[0]))
def test_every_schedule_has_a_warm_up_and_starts_at_the_full_rate_without_one(schedule_class):
    assert schedule_class().warmup_steps == 0
    assert rates(schedule_class(), 1) == [RATE]
    assert rates(schedule_class(warmup_steps=10), 1) == pytest.approx([RATE / 10])
