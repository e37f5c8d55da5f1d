"""Which run is chosen, and which are refused, on runs without any training."""

import pytest
from mlflow.entities import LoggedModelOutput

from clickflow.errors import PromotionError, TrackingError
from clickflow.promotion.challenger import choose
from clickflow.promotion.config import PromoteConfig
from clickflow.tracking.config import TrackingConfig
from clickflow.tracking.lifecycle import open_run
from clickflow.tracking.search import read_run
from clickflow.tracking.store import open_store


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("candidates")


def store_of(home, experiment):
    return open_store(TrackingConfig(experiment_name=experiment), home)


def finished(store, gauc, model="READY", metric="best/gauc", tags=None):
    """A run with a metric and a logged model of a status; None: without one."""
    with open_run(store, name="n", params={}, tags={"model": "din"} | (tags or {}), log_system_metrics=False) as run:
        run.log_metrics({metric: gauc}, 0)
        if model is not None:
            logged = store.client.create_logged_model(store.experiment_id, name="din", source_run_id=run.id)
            store.client.log_outputs(run.id, [LoggedModelOutput(logged.model_id, 0)])
            store.client.finalize_logged_model(logged.model_id, model)
    return run.id


def choice(home, champion=None, taken_back=(), **values):
    config = PromoteConfig(name="ctr", home=home, tracking=TrackingConfig(), **values)
    store = open_store(TrackingConfig(), home)
    return choose(store, config, champion and read_run(store, champion), dict.fromkeys(taken_back, 3))


@pytest.fixture(scope="module")
def several(home):
    """An experiment with runs that differ in what they have."""
    store = store_of(home, "several")
    runs = {
        "second": finished(store, 0.6),
        "best": finished(store, 0.7),
        "without model": finished(store, 0.8, model=None),
        "half a model": finished(store, 0.9, model="FAILED"),
        "not a training": finished(store, 0.9, metric="other"),
    }
    failed = finished(store, 0.95)
    store.client.set_terminated(failed, "FAILED")
    return runs | {"failed": failed}


def test_the_best_finished_run_with_a_complete_model_is_chosen(home, several):
    challenger = choice(home, experiment_name="several")
    assert challenger.run.run_id == several["best"]
    assert (challenger.value, challenger.experiment) == (0.7, "several")
    assert challenger.uri == f"models:/{challenger.model_id}"


def test_of_equal_runs_the_oldest_is_chosen(home):
    """So that a reproduction of the champion's run does not challenge it."""
    store = store_of(home, "again")
    first = finished(store, 0.7)
    finished(store, 0.7)
    assert choice(home, experiment_name="again").run.run_id == first


def test_a_reproduction_is_no_challenger_but_can_be_asked_for(home):
    store = store_of(home, "reproduced")
    run_id, reproduction = finished(store, 0.5), finished(store, 0.9)
    store.client.set_tag(reproduction, "kind", "reproduction")
    assert choice(home, experiment_name="reproduced").run.run_id == run_id
    assert choice(home, run_id=reproduction).run.run_id == reproduction


def test_it_is_found_behind_many_runs_without_a_model(home):
    store = store_of(home, "parents")
    best = finished(store, 0.5)
    for _ in range(12):  # more than a request brings
        finished(store, 0.9, model=None)
    assert choice(home, experiment_name="parents").run.run_id == best


def test_a_run_that_was_rolled_back_is_chosen_only_if_asked_for(home, several):
    assert choice(home, experiment_name="several", taken_back=[several["best"]]).run.run_id == several["second"]
    assert choice(home, run_id=several["best"], taken_back=[several["best"]]).run.run_id == several["best"]
    both = [several["best"], several["second"]]
    with pytest.raises(
        PromotionError, match=r"no finished run with val/gauc and a model; version 3 was rolled back \(run_id=.* promotes it"
    ):
        choice(home, experiment_name="several", taken_back=both)


def test_without_an_experiment_the_champions_is_searched(home, several):
    store = store_of(home, "lonely")
    finished(store, 0.99)
    assert choice(home, champion=several["second"]).run.run_id == several["best"]


def test_without_a_champion_either_an_experiment_must_be_named_where_there_are_several(home, several):
    finished(store_of(home, "another"), 0.5)
    with pytest.raises(
        PromotionError, match=r"experiment = null: .* several have finished runs: .*another, .*several; set experiment=NAME"
    ):
        choice(home)


def test_the_only_experiment_with_finished_runs_needs_no_name(tmp_path):
    with pytest.raises(TrackingError, match=r"no store is there; train a model first, or correct tracking\.uri or home"):
        choice(tmp_path)
    assert not list(tmp_path.iterdir())
    store_of(tmp_path, "empty")
    with pytest.raises(PromotionError, match="none has a finished run; train a model first"):
        choice(tmp_path)
    only = finished(store_of(tmp_path, "only"), 0.5)
    assert choice(tmp_path).run.run_id == only


def test_runs_that_cannot_be_promoted_are_refused(home, several):
    refused = {
        "failed": "its status is FAILED; only a FINISHED run can be promoted",
        "without model": "holds no complete model; only training runs can be promoted",
        "half a model": "holds no complete model",
        "not a training": "has no val/gauc",
    }
    for what, message in refused.items():
        with pytest.raises(PromotionError, match=f"run_id = {several[what]}: {message}"):
            choice(home, run_id=several[what])
    with pytest.raises(PromotionError, match=r"has no val/mrr, which needs data\.columns\.group; only training runs can be promoted"):
        choice(home, run_id=several["best"], metric="val/mrr")
    with pytest.raises(TrackingError, match="run_id = nosuch: no such run"):
        choice(home, run_id="nosuch")


def test_a_run_of_another_experiment_than_asked_for_is_refused(home, several):
    store_of(home, "else")
    with pytest.raises(PromotionError, match="is a run of experiment several, not of else; leave out one of the two"):
        choice(home, run_id=several["best"], experiment_name="else")


def test_an_experiment_without_finished_runs_is_refused_with_a_suggestion(home, several):
    with pytest.raises(
        PromotionError, match=r"experiment = severel: no experiment of this name with a finished run; did you mean several\?"
    ):
        choice(home, experiment_name="severel")
    with pytest.raises(PromotionError, match="experiment = several: no finished run with val/auc and a model; train one"):
        choice(home, experiment_name="several", metric="val/auc")


def test_better_runs_that_are_passed_over_are_said(home):
    store = store_of(home, "passed over")
    data = {"dataset.fingerprint": "a" * 64}
    other = finished(store, 0.9, tags={"dataset.fingerprint": "b" * 64})
    rolled_back, champion, best = finished(store, 0.8, tags=data), finished(store, 0.5, tags=data), finished(store, 0.7, tags=data)
    said = []
    config = PromoteConfig(name="ctr", home=home, tracking=TrackingConfig())
    chosen = choose(store, config, read_run(store, champion), {rolled_back: 3}, said.append)
    assert chosen.run.run_id == best != other
    assert said == [
        f"passed over: version 3 was rolled back (run_id={rolled_back} promotes it all the same)",
        "passed over: 1 run on other data than the champion's",
    ]
