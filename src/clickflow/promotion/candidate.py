"""Choose the run to promote: the one asked for, or the best of an experiment on its validation split.

Decision: only a run that finished and logged a complete model can be chosen. The parents of sweeps and comparisons carry the metrics of
their best child but no model, so they are passed over. A reproduction has a model but is passed over by its tag ``kind``, because the run
that it repeats can be chosen itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clickflow.config import suggest
from clickflow.data.prepare import Progress
from clickflow.errors import PromotionError
from clickflow.promotion.config import PromoteConfig
from clickflow.tracking.names import FINGERPRINT_TAG, KIND_TAG, logged_name
from clickflow.tracking.search import FoundRun, best_runs, experiment_name, experiments_with_finished_runs, read_run, ready_model
from clickflow.tracking.store import Store


@dataclass(frozen=True)
class Candidate:
    """A finished run with a model.

    Attributes:
        run: the run as it was when it was chosen.
        model_id: id of the model that it logged.
        value: value of the validation metric by which it was chosen.
        experiment: name of its experiment.
    """

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
) -> Candidate:
    """Choose the run to promote.

    Args:
        store: where runs are.
        config: names the run, or the metric by which the best one is found.
        champion: the champion's run; its experiment is searched if none is given, and only runs on its data are compared.
        taken_back: run id -> version that was rolled back; not chosen unless asked for.
        progress: called with each better run that is passed over, and why.

    Raises:
        PromotionError: there is no such run, or it cannot be promoted.
    """
    if config.run_id is not None:
        return _asked_for(store, config, config.run_id)
    name, experiment_id = _experiment(store, config.experiment_name, champion)
    data = champion.tags.get(FINGERPRINT_TAG) if champion else None
    passed_over, num_other_data = [], 0
    for run in best_runs(store, experiment_id, logged_name(config.metric)):
        model_id = None if KIND_TAG in run.tags else ready_model(store, run)
        if model_id is None:
            continue
        if data is not None and run.tags.get(FINGERPRINT_TAG) != data:  # a value on other data cannot be compared with the champion's
            num_other_data += 1
        elif run.run_id in taken_back:
            passed_over.append(f"version {taken_back[run.run_id]} was rolled back (run_id={run.run_id} promotes it all the same)")
        else:
            for what in _passed_over(passed_over, num_other_data):
                progress(f"passed over: {what}")
            return Candidate(run, model_id, run.metrics[logged_name(config.metric)], name)
    reason = "".join(f"; {what}" for what in _passed_over(passed_over, num_other_data))
    raise PromotionError(
        f"experiment = {name}: no finished run with {config.metric} and a model{reason}; train one, or set experiment=NAME."
    )


def _passed_over(reasons: Sequence[str], num_other_data: int) -> list[str]:
    runs = "run" if num_other_data == 1 else "runs"
    return [*reasons, *([f"{num_other_data} {runs} on other data than the champion's"] if num_other_data else [])]


def _asked_for(store: Store, config: PromoteConfig, run_id: str) -> Candidate:
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
        lacking = f"has no {config.metric}" if value is None else "holds no complete model"
        raise PromotionError(f"run_id = {run_id}: {lacking}; only training runs can be promoted; copy the id of one from its page.")
    return Candidate(run, model_id, value, name)


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
