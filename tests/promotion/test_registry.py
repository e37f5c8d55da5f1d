"""The registry in plain values, on a real store."""

import contextlib
import multiprocessing
import time
from dataclasses import replace

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from tests.postgres import running_postgres
from tests.servers import hanging_up

from clickflow.errors import TrackingError
from clickflow.promotion.decisions import PROMOTED, Decision, finish_pending_move, move, moves_of, next_number
from clickflow.promotion.registry import CHAMPION, PREVIOUS, Registry
from clickflow.tracking.config import TrackingConfig
from clickflow.tracking.lifecycle import open_run
from clickflow.tracking.location import model_location
from clickflow.tracking.store import Store, open_store


@pytest.fixture
def registry(store, request):
    return Registry(store, request.node.name)


def logged(store, run, status="READY"):
    """A logged model without files."""
    model = store.client.create_logged_model(store.experiment_id, name="din", source_run_id=run.id)
    store.client.finalize_logged_model(model.model_id, status)
    return model


def test_a_model_is_registered_once(registry, store, run):
    model = logged(store, run)
    version = registry.register(run.id, model.model_id, {}, "")
    assert (version.number, version.run_id) == (1, run.id)
    assert registry.register(run.id, model.model_id, {}, "") == version
    assert registry.versions() == [version]
    assert model_location(store, f"models:/{registry.name}/1") == model.artifact_location
    [link] = [value for key, value in store.client.get_logged_model(model.model_id).tags.items() if key == "mlflow.modelVersions"]
    assert link == f'[{{"name": "{registry.name}", "version": 1}}]'


def test_two_that_register_the_same_model_at_once_share_the_first_version(registry, store, run, monkeypatch):
    model = logged(store, run)
    create = store.client.create_model_version

    def slow(*arguments, **keywords):
        monkeypatch.setattr(store.client, "create_model_version", create)
        assert registry.register(run.id, model.model_id, {}, "").number == 1  # the other one comes first
        return create(*arguments, **keywords)

    monkeypatch.setattr(store.client, "create_model_version", slow)
    assert registry.register(run.id, model.model_id, {}, "").number == 1
    assert [version.number for version in registry.versions()] == [1]


def test_aliases_and_tags_are_set_moved_and_taken_away(registry, store, run):
    for _ in range(2):
        registry.register(run.id, logged(store, run).model_id, {}, "")
    assert registry.alias(CHAMPION) is None
    registry.set_alias(CHAMPION, 1)
    registry.set_alias(CHAMPION, 2)
    assert registry.alias(CHAMPION) == 2
    registry.set_alias(CHAMPION, None)
    registry.set_alias(CHAMPION, None)
    assert registry.alias(CHAMPION) is None
    registry.set_tags(2, {"val/gauc": "0.7", "gate": "passed"})
    assert registry.versions()[1].tags == {"val/gauc": "0.7", "gate": "passed"}
    assert registry.url(2) == f"http://127.0.0.1:5000/#/models/{registry.name}/versions/2"


def test_a_name_that_is_not_registered_has_no_versions(registry):
    assert registry.versions() == []
    assert registry.alias(CHAMPION) is None
    assert registry.claimed(registry.name) is None
    registry.release(registry.name)


def test_a_tag_that_two_processes_set_first_at_once_is_set(registry, store, run, monkeypatch):
    """MLflow's store looks, and then both insert; the one that comes second is refused by the database."""
    registry.register(run.id, logged(store, run).model_id, {}, "")
    attempts = []

    def refused_once(*arguments):
        attempts.append(arguments)
        if len(attempts) == 1:
            raise MlflowException("UNIQUE constraint failed: model_version_tags.key")

    monkeypatch.setattr(store.client, "set_model_version_tag", refused_once)
    registry.set_tags(1, {"gate": "passed"})
    assert attempts == [(registry.name, "1", "gate", "passed")] * 2


def test_a_claim_is_made_once(registry):
    assert registry.claim(f"{registry.name}.decision-1", {"move": "mine"})
    assert not registry.claim(f"{registry.name}.decision-1", {"move": "another's"})
    assert registry.claimed(f"{registry.name}.decision-1") == {"move": "mine"}
    registry.release(f"{registry.name}.decision-1")
    assert registry.claim(f"{registry.name}.decision-1", {"move": "another's"})
    registry.release(f"{registry.name}.decision-1")


def test_what_the_registry_refuses_is_one_message(registry):
    with pytest.raises(TrackingError, match=f"registered model {registry.name}: alias champion cannot be moved .* check the store sqlite"):
        registry.set_alias(CHAMPION, 7)
    with pytest.raises(TrackingError, match="tags of version 7 cannot be set"):
        registry.set_tags(7, {"a": "b"})


def test_moves_on_a_real_store_leave_no_claim(registry, store, run):
    numbers = [registry.register(run.id, logged(store, run).model_id, {}, "").number for _ in range(3)]
    for number in numbers:
        champion = registry.alias(CHAMPION)
        at = f"2026-01-01T00:00:0{number}.000000Z"
        asked = Decision(PROMOTED, number, champion, number, at, "me@here", next_number(registry.versions()), details={"difference": 0.1})
        assert move(registry, asked)
        assert move(registry, asked)  # the same once more
        assert not move(registry, replace(asked, by="another@there"))  # made on an old reading of the log
    assert (registry.alias(CHAMPION), registry.alias(PREVIOUS)) == (3, 2)
    assert [(one.champion, one.successor) for one in moves_of(registry.versions())] == [(None, 1), (1, 2), (2, 3)]
    assert [model.name for model in store.client.search_registered_models(f"name LIKE '{registry.name}%'")] == [registry.name]


def test_a_move_that_is_cut_off_at_any_write_is_finished_by_the_next_command(registry, store, run, monkeypatch):
    for _ in range(2):
        registry.register(run.id, logged(store, run).model_id, {}, "")
    writes = ("create_registered_model", "set_registered_model_alias", "set_model_version_tag", "delete_registered_model")
    for last_write in range(8):
        versions, champion = registry.versions(), registry.alias(CHAMPION)
        target = 2 if champion == 1 else 1
        at = f"2026-01-01T00:00:0{last_write}.000000Z"
        asked = Decision(PROMOTED, target, champion, target, at, "me@here", next_number(versions))
        remaining = iter(range(last_write))
        with monkeypatch.context() as patch:
            for name in writes:
                patch.setattr(store.client, name, cut_off(getattr(store.client, name), remaining))
            with contextlib.suppress(KeyboardInterrupt):
                move(registry, asked)
        finish_pending_move(registry)
        moves = moves_of(registry.versions())
        assert [one.number for one in moves] == list(range(1, len(moves) + 1))
        expected = (moves[-1].successor, moves[-1].champion) if moves else (None, None)
        assert (registry.alias(CHAMPION), registry.alias(PREVIOUS)) == expected
        assert [model.name for model in store.client.search_registered_models(f"name LIKE '{registry.name}%'")] == [registry.name]
    assert len(moves) == 7  # only before its claim is a move lost


def cut_off(call, remaining):
    def cut(*arguments, **keywords):
        if next(remaining, None) is None:
            raise KeyboardInterrupt
        return call(*arguments, **keywords)

    return cut


def promote_until_done(uri, home, version, barrier):
    """In a process of its own: as the pipeline, whoever comes second decides anew against the new champion."""
    registry = Registry(open_store(TrackingConfig(uri=uri), home), "ctr")
    registry.versions()
    barrier.wait(60)
    is_done = False
    while not is_done:
        finish_pending_move(registry)
        number, champion = next_number(registry.versions()), registry.alias(CHAMPION)
        is_done = move(registry, Decision(PROMOTED, version, champion, version, str(time.time()), f"process {version}", number))


@pytest.mark.slow
def test_processes_that_promote_at_the_same_time_on_postgresql_are_all_done(tmp_path):
    with running_postgres() as uri:
        config = TrackingConfig(uri=uri, experiment_name="race", artifact_location=str(tmp_path / "artifacts"))
        store = open_store(config, tmp_path)
        registry = Registry(store, "ctr")
        with open_run(store, name="n", params={}, tags={}, log_system_metrics=False) as run:
            versions = [registry.register(run.id, logged(store, run).model_id, {}, "").number for _ in range(3)]
        context = multiprocessing.get_context("spawn")
        barrier = context.Barrier(len(versions))
        processes = [context.Process(target=promote_until_done, args=(uri, tmp_path, version, barrier)) for version in versions]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
        assert [process.exitcode for process in processes] == [0, 0, 0]
        moves = moves_of(registry.versions())
        assert sorted(one.version for one in moves) == versions
        assert [one.champion for one in moves] == [None, *(one.successor for one in moves[:-1])]
        assert (registry.alias(CHAMPION), registry.alias(PREVIOUS)) == (moves[-1].successor, moves[-1].champion)
        assert [model.name for model in store.client.search_registered_models()] == ["ctr"]


def test_a_registry_that_went_away_is_named_after_two_attempts():
    with hanging_up() as (uri, connections):
        away = Registry(Store(uri, MlflowClient(uri), None), "ctr")
        with pytest.raises(TrackingError, match=rf"registered model ctr: cannot be read .* check the store {uri}"):
            away.versions()
        assert len(connections) == 2
