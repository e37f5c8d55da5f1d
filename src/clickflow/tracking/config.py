"""Configs of the run store and of the servers over it.

A null ``uri`` is the local store and not MLflow's own default, because that one depends on the working directory and on an environment
variable that MLflow reads once, when it is imported: runs would land where nobody looks for them.
"""

from typing import Annotated

from pydantic import BeforeValidator, Field

from clickflow.config import Home, StrictConfig, matching
from clickflow.serving.config import BehavioursConfig

Port = Annotated[int, Field(gt=0, lt=65536)]

ModelUri = Annotated[
    str,
    matching("models:/.+", "a model's URI: models:/NAME@ALIAS, models:/NAME/VERSION or models:/m-ID"),
    BeforeValidator(lambda value: value["uri"] if isinstance(value, dict) and value.keys() == {"uri"} else value),
]
"""``models:/m-…``, ``models:/name/3`` or ``models:/name@champion``; or a section with the key ``uri``, as a command line gives it."""


class TrackingConfig(StrictConfig):
    """The MLflow store and the experiment of a run."""

    uri: Annotated[str, Field(min_length=1)] | None = None
    """Any MLflow tracking URI (``sqlite:///…``, ``postgresql://…``, ``http://…``); null: ``mlflow.db`` in the home folder."""

    experiment_name: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    """The MLflow experiment in which runs are opened, made when it does not exist; null where only existing runs are visited."""

    artifact_location: Annotated[str, Field(min_length=1)] | None = None
    """Folder or URI (``s3://…``) of the experiment's artifacts; null: the server's own default for ``http(s)``, else ``artifacts``
    in the home folder. An experiment keeps the location it was made with."""

    log_system_metrics: bool = True
    """Log CPU, memory, disk and network use (every 10 seconds)."""


class ServeConfig(StrictConfig):
    """The registered model that is served, and its address."""

    name: Annotated[str, Field(min_length=1)]
    """Registered model."""
    alias: Annotated[str, Field(min_length=1)] = "champion"
    """Alias of the version to serve."""
    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Address to listen on; 0.0.0.0 listens on all of this machine's."""
    port: Port = 5001
    """Port to listen on."""
    workers: Annotated[int, Field(gt=0)] = 1
    """Processes that answer requests, each with a model of its own."""
    behaviours: BehavioursConfig = BehavioursConfig()
    """The table that histories are made from, as it is when the server starts; without a ``path`` each request brings its histories."""
    home: Home
    tracking: TrackingConfig


class UiConfig(StrictConfig):
    """Address of the MLflow pages."""

    port: Port = 5000
    """Port of 127.0.0.1 to listen on."""
    home: Home
