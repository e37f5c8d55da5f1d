"""Choose the run to promote: the one asked for, or the best of an experiment on its validation split.

Decision: only a run that finished and logged a complete model can be chosen. The parents of sweeps and comparisons carry the metrics of
their best child but no model, so they are passed over. A reproduction has a model but is passed over by its tag ``kind``, because the run
that it repeats can be chosen itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from clickflow.config import suggest
from clickflow.data.prepare import Progress
from clickflow.errors import PromotionError
from clickflow.metrics.headings import LIST_METRICS
from clickflow.promotion.config import PromoteConfig
from clickflow.text import counted
from clickflow.tracking.names import FINGERPRINT_TAG, KIND_TAG, logged_name
from clickflow.tracking.search import FoundRun, best_runs, experiment_name, experiments_with_finished_runs, read_run, ready_model
from clickflow.tracking.store import Store


@dataclass(frozen=True)
class Challenger:
    """The run to promote, finished and with a model; ``value`` is that of the validation metric by which it was chosen."""

    run: FoundRun
    model_id: str
    value: float
    experiment: str

    @property
    def uri(self) -> str:
        """URI of its model."""
        return f"models:/{self.model_id}"


def choose(
    store: Store,
    config: PromoteConfig,
    champion: FoundRun | None,
    taken_back: Mapping[str, int],
    progress: Progress = lambda stage: None,
) -> Challenger:
    """Choose the run that a config names, or the best by its metric.

    The champion's experiment is searched where the config names none, and only runs on the champion's data are compared. A run that was
    rolled back (``taken_back``: run id -> its version) is not chosen unless it is asked for. ``progress`` is told of each better run that
    is passed over, and why.

    Raises:
        PromotionError: there is no such run, or it cannot be promoted.
    """
    if config.run_id is not None:
        return _asked_for(store, config, config.run_id)
    name, experiment_id = _experiment(store, config.experiment_name, champion)
    data = champion.tags.get(FINGERPRINT_TAG) if champion else None
    passed_over, num_other_data, found = [], 0, None
    for run in best_runs(store, experiment_id, logged_name(config.metric)):
        model_id = None if KIND_TAG in run.tags else ready_model(store, run)
        if model_id is None:
            continue
        if data is not None and run.tags.get(FINGERPRINT_TAG) != data:  # a value on other data cannot be compared with the champion's
            num_other_data += 1
        elif run.run_id in taken_back:
            passed_over.append(f"version {taken_back[run.run_id]} was rolled back (run_id={run.run_id} promotes it all the same)")
        else:
            found = Challenger(run, model_id, run.metrics[logged_name(config.metric)], name)
            break
    if num_other_data:
        passed_over.append(f"{counted(num_other_data, 'run')} on other data than the champion's")
    if found is None:
        reason = "".join(f"; {what}" for what in passed_over)
        raise PromotionError(
            f"experiment = {name}: no finished run with {config.metric} and a model{reason}; train one, or set experiment=NAME."
        )
    for what in passed_over:
        progress(f"passed over: {what}")
    return found


def _asked_for(store: Store, config: PromoteConfig, run_id: str) -> Challenger:
    run = read_run(store, run_id)
    name = experiment_name(store, run.experiment_id)
    if config.experiment_name is not None and name != config.experiment_name:
        raise PromotionError(
            f"run_id = {run_id}: is a run of experiment {name}, not of {config.experiment_name}; leave out one of the two."
        )
    if run.status != "FINISHED":
        raise PromotionError(f"run_id = {run_id}: its status is {run.status}; only a FINISHED run can be promoted; train it again.")
    value = run.metrics.get(logged_name(config.metric))
    model_id = ready_model(store, run)
    if value is None or model_id is None:
        within_lists = config.metric.removeprefix("val/") in LIST_METRICS
        no_value = f"has no {config.metric}" + (", which needs data.columns.group" if within_lists else "")
        lacking = no_value if value is None else "holds no complete model"
        raise PromotionError(f"run_id = {run_id}: {lacking}; only training runs can be promoted; copy the id of one from its page.")
    return Challenger(run, model_id, value, name)


def _experiment(store: Store, wanted: str | None, champion: FoundRun | None) -> tuple[str, str]:
    """Name and id of the experiment to choose from."""
    if wanted is None and champion is not None:
        return experiment_name(store, champion.experiment_id), champion.experiment_id
    there = experiments_with_finished_runs(store)
    if wanted is not None:
        if wanted not in there:
            what = suggest(wanted, list(there)) if there else "no experiment of this store has any; train a model first"
            raise PromotionError(f"experiment = {wanted}: no experiment of this name with a finished run; {what}.")
        return wanted, there[wanted]
    if len(there) != 1:
        what = f"several have finished runs: {', '.join(sorted(there))}" if there else "none has a finished run; train a model first"
        raise PromotionError(f"experiment = null: no champion says which one, and {what}; set experiment=NAME or run_id=RUN.")
    return next(iter(there.items()))
