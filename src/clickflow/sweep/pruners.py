"""Pruners, which end trials that will not become the best."""

from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, PatientPruner

from clickflow.sweep.config import HyperbandConfig, MedianConfig, NoPrunerConfig, PatienceConfig, PrunerConfig
from clickflow.sweep.quiet import quietly


def build_pruner(config: PrunerConfig, num_validations: int) -> BasePruner:
    """The pruner of a study whose trials have so many validations."""
    match config:
        case MedianConfig():
            return MedianPruner(n_startup_trials=config.num_startup_trials, n_warmup_steps=config.num_warmup_validations)
        case HyperbandConfig():  # from one validation to all of them
            return HyperbandPruner(min_resource=1, max_resource=num_validations, reduction_factor=config.reduction_factor)
        case PatienceConfig():
            with quietly():
                return PatientPruner(MedianPruner(n_startup_trials=config.num_startup_trials), patience=config.patience)
        case NoPrunerConfig():
            return NopPruner()
