"""Location of a model's files: from a URI, by the store's own registry.

MLflow would look up ``models:/`` in its global registry, which need not be this store. The error about a name, an alias or a version that
does not exist lists those that do.
"""

import re
from dataclasses import dataclass

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, ErrorCode

from clickflow.errors import TrackingError
from clickflow.tracking.store import Store, store_faults

SCHEME = "models:/"
ALLOWED = "models:/m-… (as a run logged it), models:/name@alias or models:/name/version"
NOT_THERE = (ErrorCode.Name(RESOURCE_DOES_NOT_EXIST), ErrorCode.Name(INVALID_PARAMETER_VALUE))
NAMES_SHOWN = 20


def model_location(store: Store, uri: str) -> str:
    """The URI of the folder that holds a model's files.

    Raises:
        TrackingError: there is no such model; lists what there is.
        MlflowException: the store does not answer.
    """
    name = uri.removeprefix(SCHEME)
    if not name or name == uri:
        raise TrackingError(f"model {uri}: not a model's URI; allowed: {ALLOWED}")
    try:
        if "@" in name:
            name, alias = name.split("@", 1)
            version = store.client.get_model_version_by_alias(name, alias).version
        elif "/" in name:
            name, version = name.split("/", 1)
        else:
            return str(store.client.get_logged_model(name).artifact_location)
        return str(store.client.get_model_version_download_uri(name, version))
    except MlflowException as error:
        if error.error_code in NOT_THERE:
            raise TrackingError(f"model {uri}: {_what_there_is(store, name)}") from error
        raise


@dataclass(frozen=True)
class FoundModel:
    """A model by ``models:/m-…`` or ``models:/name/version``, since an alias may move, and the run that trained it."""

    uri: str
    run_id: str


def find_model(store: Store, uri: str) -> FoundModel:
    """The model that a URI names now, and the run behind it; a TrackingError if one of them is not known."""
    name, client = uri.removeprefix(SCHEME), store.client
    with store_faults(f"model {uri}: cannot be found in {store.uri}", "check the store"):
        model_location(store, uri)  # its error lists what there is
        if "@" in name or "/" in name:
            find = client.get_model_version_by_alias if "@" in name else client.get_model_version
            version = find(*re.split("[@/]", name, maxsplit=1))
            uri, run_id = f"{SCHEME}{version.name}/{version.version}", version.run_id
        else:
            run_id = client.get_logged_model(name).source_run_id
    if not run_id:
        raise TrackingError(f"model {uri}: the store does not say which run trained it; register it with its run, or give run_id=RUN")
    return FoundModel(uri, str(run_id))


def _what_there_is(store: Store, name: str) -> str:
    """The versions and aliases of a registered model; the names of all of them if it is not one."""
    try:
        aliases = store.client.get_registered_model(name).aliases
    except MlflowException:
        names = [model.name for model in store.client.search_registered_models(max_results=NAMES_SHOWN)]
        known = f"registered there: {', '.join(names)}" if names else "no model is registered there"
        return f"not in {store.uri}; {known}; allowed: {ALLOWED}"
    versions = sorted(int(found.version) for found in store.client.search_model_versions(f"name='{name}'"))
    named = [f"{alias} (version {version})" for alias, version in sorted(aliases.items())]
    return (
        f"no such version or alias; {name} has versions: {', '.join(map(str, versions)) or 'none'}; aliases: {', '.join(named) or 'none'}"
    )
