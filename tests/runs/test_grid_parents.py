"""The parent run of a grid: around its jobs, with the best of them, and failed where some are missing."""

import pytest
from tests.runs.small import small_config

from clickflow.errors import TrainingError
from clickflow.runs.grid_parents import grid_parents
from clickflow.tracking.lifecycle import open_run
from clickflow.tracking.search import read_run
from clickflow.tracking.store import open_store

SWEPT = {"optimizer.learning_rate": "0.1,0.2"}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return small_config(tmp_path_factory.mktemp("grid"))


@pytest.fixture(scope="module")
def store(config):
    return open_store(config.tracking, config.home)


def job(store, parent, value):
    with open_run(store, name="job", params={}, tags={}, log_system_metrics=False, parent_run_id=parent) as run:
        run.log_metrics({"best/gauc": value, "best/auc": 0.9}, step=0)
    return run.id


def test_it_names_the_best_run_and_lists_all(config, store):
    with grid_parents([config, config], SWEPT) as parents:
        ids = [job(store, parents["synthetic"], value) for value in (0.6, 0.7)]
    parent = read_run(store, parents["synthetic"])
    assert parent.status == "FINISHED"
    assert parent.tags["best.run_id"] == ids[1]
    assert parent.tags["kind"] == "grid"
    assert parent.metrics["best/gauc"] == 0.7
    description = parent.tags["mlflow.note.content"]
    assert description.index("0.7000") < description.index("0.6000")
    assert store.client.get_run(parent.run_id).data.params == {"grid.optimizer.learning_rate": "0.1,0.2"}


def test_it_fails_where_a_job_did_not_finish(config, store):
    with pytest.raises(TrainingError, match="1 of the grid's 2 runs did not finish"), grid_parents([config, config], SWEPT) as parents:
        job(store, parents["synthetic"], 0.6)
    assert read_run(store, parents["synthetic"]).status == "FAILED"


def test_an_interrupt_kills_it(config, store):
    with pytest.raises(KeyboardInterrupt), grid_parents([config], SWEPT) as parents:
        raise KeyboardInterrupt
    assert read_run(store, parents["synthetic"]).status == "KILLED"


def test_jobs_of_two_experiments_have_a_parent_in_each(config):
    other = config.model_copy(update={"tracking": config.tracking.model_copy(update={"experiment_name": "other"})})
    with pytest.raises(TrainingError, match="did not finish"), grid_parents([config, other], SWEPT) as parents:
        assert sorted(parents) == ["other", "synthetic"]
