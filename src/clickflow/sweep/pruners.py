"""Who ends a trial that will not become the best."""

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
    """Complete ones before any is ended."""
    num_warmup_validations: Count = 0
    """Validations of each trial before it may be ended."""

    def build(self, num_validations: int) -> BasePruner:
        """The same for any number of validations."""
        return MedianPruner(n_startup_trials=self.num_startup_trials, n_warmup_steps=self.num_warmup_validations)


class HyperbandConfig(StrictConfig):
    """Successive halving in several brackets (Li et al. 2018)."""

    name: Literal["hyperband"] = "hyperband"
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """Of how many trials one goes on at each rung."""

    def build(self, num_validations: int) -> BasePruner:
        """From one validation to all of them."""
        return HyperbandPruner(min_resource=1, max_resource=num_validations, reduction_factor=self.reduction_factor)


class PatienceConfig(StrictConfig):
    """As median, but only a trial that has not improved for a while."""

    name: Literal["patience"] = "patience"
    patience: Count = 1
    """Validations without improvement that are forgiven."""
    num_startup_trials: Count = 5
    """Complete ones before any is ended."""

    def build(self, num_validations: int) -> BasePruner:
        """Around the median."""
        with quietly():
            return PatientPruner(MedianPruner(n_startup_trials=self.num_startup_trials), patience=self.patience)


class NoPrunerConfig(StrictConfig):
    """Every trial is trained to its end."""

    name: Literal["none"] = "none"

    def build(self, num_validations: int) -> BasePruner:
        """Never prunes."""
        return NopPruner()


_Pruner = Annotated[MedianConfig | HyperbandConfig | PatienceConfig | NoPrunerConfig, Field(discriminator="name")]
PrunerConfig = Annotated[_Pruner, BeforeValidator(named)]
