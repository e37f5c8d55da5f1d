"""Samplers, which choose the next trial's values.

Each trial has its own sampler, seeded by the trial's number: workers with the same seed do not try the same values, a resumed sweep does
not repeat itself, and the sweep of one worker is reproducible. The state of a sampler is in the study.
"""

from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, QMCSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from clickflow.sweep.config import CmaEsConfig, GPConfig, GridConfig, QMCConfig, RandomConfig, SamplerConfig, TPEConfig
from clickflow.sweep.quiet import quietly


def build_sampler(config: SamplerConfig, trial_seed: int) -> BaseSampler:
    """The sampler of one trial, seeded by the trial."""
    independent = RandomSampler(seed=trial_seed)
    quiet: Any = {"independent_sampler": independent, "warn_independent_sampling": False}
    match config:
        case RandomConfig() | GridConfig():  # a grid's points wait in the study as trials, which no two workers can both take
            return independent
        case TPEConfig():  # in groups, for conditional spaces; running trials count as bad, so that workers spread
            start = config.num_startup_trials
            return TPESampler(n_startup_trials=start, seed=trial_seed, multivariate=True, group=True, constant_liar=True)
        case QMCConfig():  # one sequence for all trials; the study counts how far it has come
            return QMCSampler(scramble=True, seed=config.seed, warn_asynchronous_seeding=False, **quiet)
        case GPConfig():
            return GPSampler(seed=trial_seed, n_startup_trials=config.num_startup_trials, **quiet)
        case CmaEsConfig():  # the study holds the state of the evolution
            return CmaEsSampler(seed=trial_seed, n_startup_trials=config.num_startup_trials, with_margin=True, **quiet)


class PerTrialSampler(BaseSampler):
    """Builds a sampler for each trial and delegates to it."""

    def __init__(self, config: SamplerConfig) -> None:
        self._config = config
        self._sampler: BaseSampler = RandomSampler(seed=config.seed)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Build the trial's sampler."""
        seeds = np.random.SeedSequence([self._config.seed, trial.number])
        with quietly():
            self._sampler = build_sampler(self._config, int(seeds.generate_state(1)[0]))
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
