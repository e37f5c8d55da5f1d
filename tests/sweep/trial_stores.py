"""Studies for tests: in memory, with trials made by hand."""

import optuna
from optuna.distributions import FloatDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState, create_trial

from clickflow.sweep.trials import TrialStore

RATE = FloatDistribution(0.0, 1.0)


def make_trial_store(total=3, *, is_grid=False, storage=None):
    storage = storage or InMemoryStorage()
    return TrialStore(optuna.create_study(study_name="test", storage=storage, direction="maximize"), storage, total, is_grid=is_grid)


def add(trial_store, state, number=None, **attributes):
    value = 0.5 if state in (TrialState.COMPLETE, TrialState.PRUNED) else None
    params = {"optimizer.learning_rate": 0.1}
    trial_store.study.add_trial(
        create_trial(state=state, value=value, params=params, distributions={"optimizer.learning_rate": RATE}, user_attrs=attributes)
    )
