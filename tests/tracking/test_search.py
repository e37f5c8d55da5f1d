"""Finding finished runs again, and reading them without opening them."""

from dataclasses import replace

import pytest
from mlflow.exceptions import MlflowException

from clickflow.errors import TrackingError
from clickflow.tracking import search
from clickflow.tracking.contents import fetch_artifact, metric_histories
from clickflow.tracking.lifecycle import open_run, resume_run
from clickflow.tracking.search import find_run, find_runs, last_values, read_run, search_runs


def finished(store, name, tags):
    with open_run(store, name=name, params={}, tags=tags, log_system_metrics=False) as run:
        for step, value in enumerate([3.0, 2.0, 1.0]):
            run.log_metrics({"gradient_norm/mlp.layers.0": value, "other": value}, step * 10)
        run.log_text("hello", "notes/a.txt")
    return run.id


def test_only_finished_runs_with_all_the_tags_are_found_the_newest_first(store):
    first = finished(store, "first", {"digest": "search-1", "data": "x"})
    second = finished(store, "second", {"digest": "search-1", "data": "x"})
    finished(store, "other data", {"digest": "search-1", "data": "y"})
    with (
        pytest.raises(ValueError, match="broken"),
        open_run(store, name="failed", params={}, tags={"digest": "search-1", "data": "x"}, log_system_metrics=False),
    ):
        raise ValueError("broken")

    assert [run.run_id for run in find_runs(store, {"digest": "search-1", "data": "x"}, "FINISHED")] == [second, first]
    assert find_runs(store, {"digest": "search-none"}) == []


def test_the_history_of_metrics_by_their_prefix(store):
    run = read_run(store, finished(store, "history", {}))

    histories = metric_histories(store, run, "gradient_norm/")

    assert list(histories) == ["mlp.layers.0"]
    steps, values = histories["mlp.layers.0"]
    assert steps.tolist() == [0, 10, 20]
    assert values.tolist() == [3.0, 2.0, 1.0]


def test_artifacts_are_copied(store, tmp_path):
    run_id = finished(store, "artifacts", {})

    assert fetch_artifact(store, run_id, "notes/a.txt", tmp_path / "new").read_text() == "hello"
    with pytest.raises(TrackingError, match=rf"run {run_id}: artifact notes/b.txt cannot be fetched"):
        fetch_artifact(store, run_id, "notes/b.txt", tmp_path)


@pytest.mark.parametrize("run_id", ["nosuch", "000000", "12345", "'; --", "a_cdef"])
def test_an_unknown_run_is_refused(store, run_id):
    message = rf"run_id = {run_id}: no such run in .*; copy the id, or its first 6 characters or more, from the run's page"
    with pytest.raises(TrackingError, match=message):
        read_run(store, run_id)


def test_a_run_is_found_by_the_beginning_of_its_id_if_no_other_one_begins_with_it(store):
    run_id = finished(store, "short", {})

    assert read_run(store, run_id[:6]).run_id == read_run(store, run_id[:-1]).run_id == run_id
    with resume_run(store, run_id[:8], "evaluation") as run:
        assert run.id == run_id
    with pytest.raises(TrackingError, match=f"run_id = {run_id[:5]}: no such run"):
        read_run(store, run_id[:5])

    store.client.delete_run(run_id)
    assert read_run(store, run_id[:6]).is_deleted


def test_the_beginning_of_several_ids_is_refused_with_the_whole_ids(store, monkeypatch):
    runs = [replace(read_run(store, finished(store, f"run{k}", {})), run_id=f"abcdef{k}", is_deleted=k == 0) for k in range(8)]
    monkeypatch.setattr(search, "search_runs", lambda *condition, **options: runs)

    with pytest.raises(
        TrackingError, match=r"run_id = abcdef: 7 runs begin with it: abcdef1 \(run1\), .*abcdef5 \(run5\) and 2 more; write more"
    ):
        read_run(store, "abcdef")
    del runs[2:]
    assert read_run(store, "abcdef").run_id == "abcdef1"


def test_a_run_below_another_one_names_its_parent(store):
    with open_run(store, name="child", params={}, tags={}, log_system_metrics=False, parent_run_id="abc") as run:
        assert read_run(store, run.id).tags["mlflow.parentRunId"] == "abc"


def test_last_values_are_found_in_every_experiment_page_by_page_and_of_deleted_runs(store, monkeypatch):
    monkeypatch.setattr(search, "RUNS_PER_REQUEST", 2)
    client, expected = store.client, {}
    for number, experiment in enumerate([store.experiment_id] * 3 + [client.create_experiment("values, elsewhere")]):
        run_id = client.create_run(experiment).info.run_id
        client.set_tag(run_id, "data", "values-1")
        for value in (number + 1, number + 2):
            client.log_metric(run_id, "test/looks", value, step=value)
        expected[run_id] = number + 2
    client.delete_run(run_id)
    client.set_tag(client.create_run(store.experiment_id).info.run_id, "data", "values-1")  # one that has no such metric

    assert last_values(store, {"data": "values-1"}, "test/looks") == expected
    assert last_values(store, {"data": "values-2"}, "test/looks") == {}


def test_a_store_that_does_not_answer_is_not_told_as_a_run_that_is_not_there(store, monkeypatch):
    def fails(*arguments, **named):
        raise MlflowException("the database is gone")

    run = read_run(store, finished(store, "outage", {}))
    for name in ("get_run", "search_runs", "get_experiment", "get_metric_history", "get_logged_model"):
        monkeypatch.setattr(store.client, name, fails)
    asked = [
        lambda: find_run(store, run.run_id),
        lambda: search_runs(store, "attributes.status = 'RUNNING'"),
        lambda: search.experiment_name(store, "1"),
        lambda: metric_histories(store, run, "other"),
        lambda: search.ready_model(store, replace(run, model_ids=("m-1",))),
    ]
    for ask in asked:
        with pytest.raises(TrackingError, match=r"tracking\.uri = .*(cannot be|be) .*the database is gone.*check the store"):
            ask()


def test_all_pages_are_read(store, monkeypatch):
    monkeypatch.setattr(search, "RUNS_PER_REQUEST", 1)
    ids = [finished(store, f"page {number}", {"pages": "3"}) for number in range(3)]
    found = search_runs(store, "tags.pages = '3'", [store.experiment_id], order=["attributes.start_time ASC"])
    assert [run.run_id for run in found] == ids
