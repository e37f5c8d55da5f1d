"""The versions of one registered model, their aliases and tags.

A thin layer over the client: it answers in plain values, turns MLflow's exceptions into one message, and makes registering idempotent,
so that a command that was cut short can be repeated.
"""

import contextlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED, RESOURCE_ALREADY_EXISTS, ErrorCode

from clickflow.errors import TrackingError
from clickflow.text import first_line
from clickflow.tracking.location import NOT_THERE
from clickflow.tracking.names import MODEL_VERSIONS_TAG
from clickflow.tracking.store import PATIENCE, Store, keep_environment

Answer = TypeVar("Answer")

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"


@dataclass(frozen=True)
class Version:
    """A registered version as it was when it was read; ``run_id`` is empty if it was registered without a run."""

    number: int
    run_id: str
    source: str
    tags: Mapping[str, str]


class Registry:
    """One registered model of a store; it need not exist yet."""

    def __init__(self, store: Store, name: str) -> None:
        self.store = store
        self.name = name
        self._client = store.client

    def versions(self) -> list[Version]:
        """All versions, the oldest first.

        Raises:
            TrackingError: the registry does not answer, within 10 seconds.
        """
        with self._talking("cannot be read"), keep_environment(PATIENCE):
            found = self._client.search_model_versions(f"name = '{self.name}'")
        versions = [Version(int(one.version), one.run_id or "", str(one.source), dict(one.tags)) for one in found]
        return sorted(versions, key=lambda version: version.number)

    def alias(self, alias: str) -> int | None:
        """The number of the version with an alias; None if there is none."""
        return self._if_there(self.name, lambda: int(self._client.get_model_version_by_alias(self.name, alias).version))

    def set_alias(self, alias: str, number: int | None) -> None:
        """Move an alias to a version; None removes it. Moving it to its own version does nothing."""
        with self._talking(f"alias {alias} cannot be moved"):
            if number is not None:
                _twice(lambda: self._client.set_registered_model_alias(self.name, alias, str(number)))
            elif self.alias(alias) is not None:
                _twice(lambda: self._client.delete_registered_model_alias(self.name, alias))

    def set_tags(self, number: int, tags: Mapping[str, str]) -> None:
        """Set tags of a version; a later value replaces an earlier one."""
        with self._talking(f"tags of version {number} cannot be set"):
            for key, value in tags.items():
                _twice(partial(self._client.set_model_version_tag, self.name, str(number), key, value))

    def register(self, run_id: str, model_id: str, tags: Mapping[str, str], markdown: str) -> Version:
        """Register a run's logged model, or find its version again, and give the version tags and the text at the top of its page.

        Two processes that register the same model at once make two versions; the one with the later version deletes it again.

        Raises:
            TrackingError: the registry does not take it.
        """
        with self._talking("cannot be registered"):
            source = str(self._client.get_logged_model(model_id).artifact_location)
            found = self._registered(source)
            if found is None:
                self.claim(self.name, {})
                # By its location and not as models:/m-…, which MLflow would look up in its global store.
                made = self._client.create_model_version(
                    self.name, source, run_id, tags=dict(tags), description=markdown, model_id=model_id
                )
                found = self._registered(source)
                assert found is not None
                self._link(model_id, found.number)
                if found.number == int(made.version):
                    return found
                self._client.delete_model_version(self.name, made.version)
        self.set_tags(found.number, {key: value for key, value in tags.items() if found.tags.get(key) != value})
        with self._talking(f"version {found.number} cannot be described"):
            self._client.update_model_version(self.name, str(found.number), markdown)
        return found

    def claim(self, name: str, tags: Mapping[str, str], description: str = "") -> bool:
        """Create a registered model of an unused name, the only atomic step of a registry; False if the name is in use."""
        try:
            self._client.create_registered_model(name, dict(tags), description)
        except MlflowException as error:
            if error.error_code == ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                return False
            raise self._failure("cannot be written", error) from error
        return True

    def claimed(self, name: str) -> Mapping[str, str] | None:
        """The tags of a claim; None if there is no such claim."""
        return self._if_there(name, lambda: dict(self._client.get_registered_model(name).tags))

    def release(self, name: str) -> None:
        """Remove a claim; nothing happens if it is gone, or if a server with permissions does not let this user remove it."""
        with contextlib.suppress(MlflowException):
            _twice(lambda: self._client.delete_registered_model(name))

    def url(self, number: int) -> str:
        """The URL of a version's page."""
        return self.store.page(f"models/{self.name}/versions/{number}")

    def _registered(self, source: str) -> Version | None:
        """The first version with the files at ``source``."""
        return next((version for version in self.versions() if version.source == source), None)

    def _link(self, model_id: str, number: int) -> None:
        """Let the logged model's page name its version; a server does so by itself, a database that is opened directly does not."""
        known = json.loads(self._client.get_logged_model(model_id).tags.get(MODEL_VERSIONS_TAG, "[]"))
        if not any((one["name"], int(one["version"])) == (self.name, number) for one in known):
            links = [*known, {"name": self.name, "version": number}]
            _twice(lambda: self._client.set_logged_model_tags(model_id, {MODEL_VERSIONS_TAG: json.dumps(links)}))

    def _if_there(self, name: str, ask: Callable[[], Answer]) -> Answer | None:
        """The answer about a registered model; None if there is no such name or alias."""
        try:
            return ask()
        except MlflowException as error:
            if error.error_code in NOT_THERE or self._is_hidden(error, name):
                return None
            raise self._failure("cannot be read", error) from error

    def _is_hidden(self, error: MlflowException, name: str) -> bool:
        """Whether a refusal only means that the name is unused: a server with permissions does not distinguish the two."""
        if error.error_code != ErrorCode.Name(PERMISSION_DENIED):
            return False
        with self._talking("cannot be read"):
            return not self._client.search_registered_models(f"name = '{name}'")

    @contextlib.contextmanager
    def _talking(self, what: str) -> Iterator[None]:
        try:
            yield
        except MlflowException as error:
            raise self._failure(what, error) from error

    def _failure(self, what: str, error: MlflowException) -> TrackingError:
        return TrackingError(f"registered model {self.name}: {what} ({first_line(error)}); check the store {self.store.uri}")


def _twice(write: Callable[[], object]) -> None:
    """Repeat a write that failed: if two processes set the same thing for the first time, MLflow's store lets both insert it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SQLAlchemy's, where two processes delete the same row
        try:
            write()
        except MlflowException as error:
            if error.error_code in NOT_THERE:
                raise
            write()
