"""What a model's URI names, and the run behind it."""

import pytest

from clickflow.errors import TrackingError
from clickflow.tracking.location import FoundModel, find_model


@pytest.fixture(scope="module")
def logged(store):
    """A logged model with its run, without files."""
    client = store.client
    run_id = client.create_run(store.experiment_id).info.run_id
    return client.create_logged_model(store.experiment_id, name="din", source_run_id=run_id)


@pytest.fixture(scope="module")
def registered(store, logged):
    """Versions 1 and 2 with their run, version 3 without."""
    client = store.client
    client.create_registered_model("found")
    client.create_model_version("found", logged.artifact_location, logged.source_run_id)
    client.create_model_version("found", logged.artifact_location, logged.source_run_id)
    client.create_model_version("found", logged.artifact_location)
    client.set_registered_model_alias("found", "champion", "2")


def test_a_logged_model_is_of_the_run_that_logged_it(store, logged):
    uri = f"models:/{logged.model_id}"
    assert find_model(store, uri) == FoundModel(uri, logged.source_run_id)


@pytest.mark.parametrize(("name", "version"), [("found/1", 1), ("found/2", 2), ("found@champion", 2)])
def test_an_alias_becomes_the_version_it_names_now(store, logged, registered, name, version):
    assert find_model(store, f"models:/{name}") == FoundModel(f"models:/found/{version}", logged.source_run_id)


def test_a_version_of_no_known_run_is_refused(store, registered):
    with pytest.raises(TrackingError, match=r"model models:/found/3: the store does not say which run trained it; register it"):
        find_model(store, "models:/found/3")


@pytest.mark.parametrize("uri", ["models:/found@nobody", "models:/found/17", "models:/m-0123", "models:/absent/1"])
def test_what_is_not_there_is_refused(store, registered, uri):
    with pytest.raises(TrackingError, match=rf"model {uri}: "):
        find_model(store, uri)
