"""The versions of one registered model, their aliases and tags.

A thin layer over the client: it answers in plain values, turns MLflow's exceptions into one message, and makes registering idempotent,
so that a command that was cut short can be given again.
"""

import contextlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED, RESOURCE_ALREADY_EXISTS, ErrorCode

from clickflow.errors import TrackingError
from clickflow.text import first_line
from clickflow.tracking.location import NOT_THERE
from clickflow.tracking.run import LOCAL_UI
from clickflow.tracking.store import PATIENCE, Store, is_server, keep_environment

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
MODEL_VERSIONS_TAG = "mlflow.modelVersions"
"""By which a logged model's page, and its run's, show what it is registered as."""


@dataclass(frozen=True)
class Version:
    """A registered version as it was when it was read.

    Attributes:
        number: 1, 2, …
        run_id: of the run that trained it; empty where it was registered without one.
        source: where its files are.
        tags: all of them.
    """

    number: int
    run_id: str
    source: str
    tags: Mapping[str, str]


class Registry:
    """One registered model of a store; it need not exist yet.

    Attributes:
        store: the store whose registry it is.
        name: of the registered model.
    """

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
        """The number of the version with an alias; None where there is none."""
        try:
            return int(self._client.get_model_version_by_alias(self.name, alias).version)
        except MlflowException as error:
            if error.error_code in NOT_THERE or self._is_hidden(error, self.name):
                return None
            raise self._failure("cannot be read", error) from error

    def set_alias(self, alias: str, number: int | None) -> None:
        """Move an alias to a version; None takes it away. Moving it to where it is does nothing."""
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

    def describe(self, number: int, markdown: str) -> None:
        """Set the text at the top of a version's page."""
        with self._talking(f"version {number} cannot be described"):
            self._client.update_model_version(self.name, str(number), markdown)

    def register(self, run_id: str, model_id: str) -> Version:
        """Register a run's logged model; one that is registered already is found again.

        Two processes that register the same model at once make two versions; the later one is taken back by whoever made it.

        Raises:
            TrackingError: the registry does not take it.
        """
        with self._talking("cannot be registered"):
            source = str(self._client.get_logged_model(model_id).artifact_location)
            found = self._registered(source)
            if found:
                return found
            self.claim(self.name, {})
            # By its location and not as models:/m-…, which MLflow would look up in its global store.
            made = self._client.create_model_version(self.name, source, run_id, model_id=model_id)
            found = self._registered(source)
            assert found is not None
            if found.number != int(made.version):
                self._client.delete_model_version(self.name, made.version)
            self._link(model_id, found.number)
            return found

    def claim(self, name: str, tags: Mapping[str, str], description: str = "") -> bool:
        """Make a registered model of a name that nobody has; False where somebody has it. The one step of a registry that is atomic."""
        try:
            self._client.create_registered_model(name, dict(tags), description)
        except MlflowException as error:
            if error.error_code == ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                return False
            raise self._failure("cannot be written", error) from error
        return True

    def claimed(self, name: str) -> Mapping[str, str] | None:
        """The tags of a claim; None where nobody has made it."""
        try:
            return dict(self._client.get_registered_model(name).tags)
        except MlflowException as error:
            if error.error_code in NOT_THERE or self._is_hidden(error, name):
                return None
            raise self._failure("cannot be read", error) from error

    def release(self, name: str) -> None:
        """Take a claim away. Another's may not be ours to take away (on a server with permissions), or be gone already."""
        with contextlib.suppress(MlflowException):
            _twice(lambda: self._client.delete_registered_model(name))

    def url(self, number: int) -> str:
        """A version's page: on the server, or in the UI that ``make ui`` starts over the local store."""
        server = self.store.uri.rstrip("/") if is_server(self.store.uri) else LOCAL_UI
        return f"{server}/#/models/{self.name}/versions/{number}"

    def _registered(self, source: str) -> Version | None:
        """The first version of these files."""
        return next((version for version in self.versions() if version.source == source), None)

    def _link(self, model_id: str, number: int) -> None:
        """Let the logged model's page name its version; a server does so by itself, a database opened directly does not."""
        known = json.loads(self._client.get_logged_model(model_id).tags.get(MODEL_VERSIONS_TAG, "[]"))
        if not any((one["name"], int(one["version"])) == (self.name, number) for one in known):
            links = [*known, {"name": self.name, "version": number}]
            _twice(lambda: self._client.set_logged_model_tags(model_id, {MODEL_VERSIONS_TAG: json.dumps(links)}))

    def _is_hidden(self, error: MlflowException, name: str) -> bool:
        """Whether a refusal only says that nobody has made the name: a server with permissions does not tell the one from the other."""
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
    """Repeat a write that failed: where two processes set the same thing for the first time, MLflow's store has both insert it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SQLAlchemy's, where two processes delete the same row
        try:
            write()
        except MlflowException as error:
            if error.error_code in NOT_THERE:
                raise
            write()
