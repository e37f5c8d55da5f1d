"""Pruners, which end trials that will not become the best."""

from typing import Annotated, Literal

from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, PatientPruner
from pydantic import BeforeValidator, Field

from clickflow.config import StrictConfig, named
from clickflow.sweep.quiet import quietly

Count = Annotated[int, Field(ge=0)]


class MedianConfig(StrictConfig):
    """Ends a trial whose best value so far is worse than the median of the others at the same validation (Golovin et al. 2017)."""

    name: Literal["median"] = "median"
    num_startup_trials: Count = 5
    """Number of complete trials before the first is pruned."""
    num_warmup_validations: Count = 0
    """Number of validations of a trial before it may be pruned."""

    def build(self, num_validations: int) -> BasePruner:
        """The pruner; it does not depend on the number of validations."""
        return MedianPruner(n_startup_trials=self.num_startup_trials, n_warmup_steps=self.num_warmup_validations)


class HyperbandConfig(StrictConfig):
    """Successive halving in several brackets (Li et al. 2018)."""

    name: Literal["hyperband"] = "hyperband"
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """One of this many trials continues at each rung."""

    def build(self, num_validations: int) -> BasePruner:
        """The pruner, from one validation to all of them."""
        return HyperbandPruner(min_resource=1, max_resource=num_validations, reduction_factor=self.reduction_factor)


class PatienceConfig(StrictConfig):
    """Prunes as ``median`` does, but only a trial that has not improved for a while."""

    name: Literal["patience"] = "patience"
    patience: Count = 1
    """Number of validations without improvement that are tolerated."""
    num_startup_trials: Count = 5
    """Number of complete trials before the first is pruned."""

    def build(self, num_validations: int) -> BasePruner:
        """The pruner, around that of ``median``."""
        with quietly():
            return PatientPruner(MedianPruner(n_startup_trials=self.num_startup_trials), patience=self.patience)


class NoPrunerConfig(StrictConfig):
    """Trains every trial to its end."""

    name: Literal["none"] = "none"

    def build(self, num_validations: int) -> BasePruner:
        """The pruner that never prunes."""
        return NopPruner()


_Pruner = Annotated[MedianConfig | HyperbandConfig | PatienceConfig | NoPrunerConfig, Field(discriminator="name")]
PrunerConfig = Annotated[_Pruner, BeforeValidator(named)]
