"""A champion in the registry of a store."""

from clickflow.tracking.config import TrackingConfig
from clickflow.tracking.lifecycle import open_run
from clickflow.tracking.logged_model import log_model
from clickflow.tracking.store import open_store


def register(home, bundle, name="ctr"):
    """Log a model, register it and make it the champion; its version."""
    store = open_store(TrackingConfig(experiment_name="scoring"), home)
    with open_run(store, name=name, params={}, tags={}, log_system_metrics=False) as run:
        model_id = log_model(run, bundle).removeprefix("models:/")
    if not store.client.search_registered_models(f"name = '{name}'"):
        store.client.create_registered_model(name)
    location = store.client.get_logged_model(model_id).artifact_location
    version = store.client.create_model_version(name, location, run.id, model_id=model_id).version
    store.client.set_registered_model_alias(name, "champion", version)
    return version
