"""The config of a run as the run stores it: without passwords, with a digest that finds runs of the same config, and read back."""

from typing import Any

import yaml

from clickflow.config import validate
from clickflow.digests import digest_values
from clickflow.errors import ConfigError, TrackingError, without_passwords
from clickflow.models.entry_points import check_installed
from clickflow.runs.config import RunConfig
from clickflow.tracking.contents import fetched
from clickflow.tracking.names import MODEL_PACKAGE_TAG
from clickflow.tracking.search import FoundRun
from clickflow.tracking.store import Store

CONFIG_FILE = "config.yaml"


def logged_values(config: RunConfig) -> dict[str, Any]:
    """A config in plain values, without the store's password."""
    values = config.model_dump(mode="json")
    if config.tracking.uri is not None:
        values["tracking"]["uri"] = without_passwords(config.tracking.uri)
    return values


def config_digest(config: RunConfig) -> str:
    """SHA-256 of all that determines a run's result; where its files are, is tracked or shown is no part of it."""
    elsewhere: Any = {"home": True, "tracking": True, "data": {"path", "url"}, "trainer": {"progress_bar"}}
    values = config.model_dump(mode="json", exclude=elsewhere)
    return digest_values(values)


def read_config(store: Store, run: FoundRun) -> RunConfig:
    """The config that a run was trained with.

    Raises:
        TrackingError: the run has no config, or a damaged one.
        ConfigError: this version does not know some of its keys or values, or its model comes from a package that is not installed.
    """
    with fetched(store, run.run_id, CONFIG_FILE) as file:
        try:
            values = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError):
            values = None
    if not isinstance(values, dict):
        raise TrackingError(f"run {run.run_id}: its {CONFIG_FILE} is damaged; restore it from a copy, or train again.")
    try:
        return validate(RunConfig, values, f"{CONFIG_FILE} of run {run.run_id}")
    except ConfigError:
        check_installed(run.tags["model"], run.tags.get(MODEL_PACKAGE_TAG))
        raise
