"""Samplers, which choose the next trial's values.

Each trial has its own sampler, seeded by the trial's number: workers with the same seed do not try the same values, a resumed sweep does
not repeat itself, and the sweep of one worker is reproducible. The state of a sampler is in the study.
"""

from typing import Annotated, Any, Literal

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, QMCSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from pydantic import BeforeValidator, Field

from clickflow.config import StrictConfig, named
from clickflow.sweep.quiet import quietly

Seed = Annotated[int, Field(ge=0)]
StartupTrials = Annotated[int, Field(ge=1)]


class TPEConfig(StrictConfig):
    """Tree-structured Parzen estimator over all parameters together (Bergstra et al. 2011; multivariate: Falkner et al. 2018)."""

    name: Literal["tpe"] = "tpe"
    seed: Seed = 0
    num_startup_trials: StartupTrials = 10
    """Number of random trials before it."""

    def build(self, trial_seed: int) -> BaseSampler:
        """In groups, because a conditional space has several sets of parameters; running trials count as bad, so that workers spread."""
        return TPESampler(n_startup_trials=self.num_startup_trials, seed=trial_seed, multivariate=True, group=True, constant_liar=True)


class RandomConfig(StrictConfig):
    """Independent random values."""

    name: Literal["random"] = "random"
    seed: Seed = 0

    def build(self, trial_seed: int) -> BaseSampler:
        """The sampler of one trial."""
        return RandomSampler(seed=trial_seed)


class GridConfig(StrictConfig):
    """Every combination of choices and ranges, once, in order."""

    name: Literal["grid"] = "grid"
    seed: Seed = 0

    def build(self, trial_seed: int) -> BaseSampler:
        """Nothing is left to choose: the points are enqueued trials, each of which one worker gets."""
        return RandomSampler(seed=trial_seed)


class QMCConfig(StrictConfig):
    """A scrambled Sobol' sequence: random values that leave no gaps (Bergstra & Bengio 2012); choices are random."""

    name: Literal["qmc"] = "qmc"
    seed: Seed = 0

    def build(self, trial_seed: int) -> BaseSampler:
        """One sequence for all trials; the study counts its position."""
        return QMCSampler(
            scramble=True,
            seed=self.seed,
            independent_sampler=RandomSampler(seed=trial_seed),
            warn_asynchronous_seeding=False,
            warn_independent_sampling=False,
        )


class GPConfig(StrictConfig):
    """Gaussian process with expected improvement; for few, costly trials."""

    name: Literal["gp"] = "gp"
    seed: Seed = 0
    num_startup_trials: StartupTrials = 10
    """Number of random trials before it."""

    def build(self, trial_seed: int) -> BaseSampler:
        """The sampler of one trial."""
        independent = RandomSampler(seed=trial_seed)
        startup = self.num_startup_trials
        return GPSampler(seed=trial_seed, independent_sampler=independent, n_startup_trials=startup, warn_independent_sampling=False)


class CmaEsConfig(StrictConfig):
    """Covariance matrix adaptation (Hansen & Ostermeier 2001), for numbers; choices are random."""

    name: Literal["cma_es"] = "cma_es"
    seed: Seed = 0
    num_startup_trials: StartupTrials = 10
    """Number of random trials before it."""

    def build(self, trial_seed: int) -> BaseSampler:
        """The state of the evolution is in the study."""
        return CmaEsSampler(
            seed=trial_seed,
            n_startup_trials=self.num_startup_trials,
            independent_sampler=RandomSampler(seed=trial_seed),
            warn_independent_sampling=False,
            with_margin=True,
        )


_Sampler = Annotated[TPEConfig | RandomConfig | GridConfig | QMCConfig | GPConfig | CmaEsConfig, Field(discriminator="name")]
SamplerConfig = Annotated[_Sampler, BeforeValidator(named)]


class PerTrialSampler(BaseSampler):
    """Builds a sampler for each trial and delegates to it.

    Args:
        config: config of the sampler.
    """

    def __init__(self, config: SamplerConfig) -> None:
        self._config = config
        self._sampler: BaseSampler = RandomSampler(seed=config.seed)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Build the trial's sampler."""
        with quietly():
            self._sampler = self._config.build(int(np.random.SeedSequence([self._config.seed, trial.number]).generate_state(1)[0]))
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Delegate to the trial's sampler."""
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        """Delegate to the trial's sampler."""
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        """Delegate to the trial's sampler."""
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        """Delegate to the trial's sampler."""
        self._sampler.after_trial(study, trial, state, values)
