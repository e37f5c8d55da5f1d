"""The registry in plain values, on a real store."""

import time
from dataclasses import replace

import pytest
from mlflow import MlflowClient

from clickflow.errors import TrackingError
from clickflow.tracking.decisions import PROMOTED, Decision, move, moves_of, next_number
from clickflow.tracking.location import model_location
from clickflow.tracking.registry import CHAMPION, PREVIOUS, Registry
from clickflow.tracking.store import Store


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
    version = registry.register(run.id, model.model_id)
    assert (version.number, version.run_id) == (1, run.id)
    assert registry.register(run.id, model.model_id) == version
    assert registry.versions() == [version]
    assert model_location(store, f"models:/{registry.name}/1") == model.artifact_location
    [link] = [value for key, value in store.client.get_logged_model(model.model_id).tags.items() if key == "mlflow.modelVersions"]
    assert link == f'[{{"name": "{registry.name}", "version": 1}}]'


def test_two_that_register_the_same_model_at_once_share_the_first_version(registry, store, run, monkeypatch):
    model = logged(store, run)
    create = store.client.create_model_version

    def slow(*arguments, **keywords):
        monkeypatch.setattr(store.client, "create_model_version", create)
        assert registry.register(run.id, model.model_id).number == 1  # the other one comes first
        return create(*arguments, **keywords)

    monkeypatch.setattr(store.client, "create_model_version", slow)
    assert registry.register(run.id, model.model_id).number == 1
    assert [version.number for version in registry.versions()] == [1]


def test_aliases_and_tags_are_set_moved_and_taken_away(registry, store, run):
    for _ in range(2):
        registry.register(run.id, logged(store, run).model_id)
    assert registry.alias(CHAMPION) is None
    registry.set_alias(CHAMPION, 1)
    registry.set_alias(CHAMPION, 2)
    assert registry.alias(CHAMPION) == 2
    registry.set_alias(CHAMPION, None)
    registry.set_alias(CHAMPION, None)
    assert registry.alias(CHAMPION) is None
    registry.set_tags(2, {"val/gauc": "0.7", "gate": "passed"})
    registry.describe(2, "**good**")
    assert registry.versions()[1].tags == {"val/gauc": "0.7", "gate": "passed"}
    assert store.client.get_model_version(registry.name, "2").description == "**good**"
    assert registry.url(2) == f"http://127.0.0.1:5000/#/models/{registry.name}/versions/2"


def test_a_name_that_is_not_registered_has_no_versions(registry):
    assert registry.versions() == []
    assert registry.alias(CHAMPION) is None
    assert registry.claimed(registry.name) is None
    registry.release(registry.name)


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
    numbers = [registry.register(run.id, logged(store, run).model_id).number for _ in range(3)]
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


def test_a_registry_that_went_away_is_named_within_ten_seconds():
    away = Store("http://127.0.0.1:9", MlflowClient("http://127.0.0.1:9"), None)
    start = time.monotonic()
    with pytest.raises(TrackingError, match=r"registered model ctr: cannot be read .* check the store http://127.0.0.1:9"):
        Registry(away, "ctr").versions()
    assert time.monotonic() - start < 10
