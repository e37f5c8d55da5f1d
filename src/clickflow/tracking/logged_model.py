"""Log a trained model to a run, and load one back.

The model goes through the client's own calls (make a logged model, upload, finalise, link to the run), since ``mlflow.pyfunc.log_model``
works on MLflow's global tracking URI and active run.

Every column is declared as ``Any`` in the signature, since MLflow's own check would do harm: its server casts a JSON 1.5 for a ``long``
column to 1 before the model sees it, and it refuses integers for a ``double``, booleans for a boolean field stored as text, a null history,
and one id where another row has a list of them. As ``Any`` a value arrives as it was sent; the model takes it or refuses it by name.

A model that is not there, or whose files are not as they were logged, is a TrackingError.
"""

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
from mlflow.entities import LoggedModelOutput
from mlflow.models import Model, ModelSignature
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import AnyType

import clickflow.data.schema as fields
from clickflow.config import flatten
from clickflow.errors import TrackingError
from clickflow.serving import model_code as serving
from clickflow.serving.bundle import ServingBundle
from clickflow.serving.click_model import BUNDLE, input_example
from clickflow.tracking.carried_code import carry_code
from clickflow.tracking.location import model_location
from clickflow.tracking.run import Run
from clickflow.tracking.store import Store, keep_environment, store_faults

if TYPE_CHECKING:  # at run time serving imports mlflow.pyfunc, without its warnings
    from mlflow.pyfunc import PyFuncModel

REQUIREMENTS = ("mlflow", "numpy", "pandas", "pyarrow", "pydantic", "safetensors", "torch")


def log_model(run: Run, bundle: ServingBundle) -> str:
    """Log a model that takes raw ids, linked to the run, which stays open; returns the model's URI, ``models:/m-…``.

    Raises:
        TrackingError: the store does not take it; no READY model is left behind then.
    """
    client = run.store.client
    params = {key: str(value) for key, value in flatten(bundle.model_config).items()}
    with store_faults(f"run {run.id}: the model cannot be logged", f"check the store {run.store.uri}"):
        experiment_id = client.get_run(run.id).info.experiment_id
        logged = client.create_logged_model(experiment_id, name=str(params["name"]), source_run_id=run.id, params=params)
        try:
            with tempfile.TemporaryDirectory() as folder:
                model = Model(artifact_path=logged.artifact_location, model_uuid=logged.model_id, run_id=run.id, model_id=logged.model_id)
                save_model(bundle, Path(folder) / "model", model)
                client.log_model_artifacts(logged.model_id, str(Path(folder) / "model"))
            client.log_outputs(run.id, [LoggedModelOutput(logged.model_id, step=0)])
        except BaseException:
            client.finalize_logged_model(logged.model_id, "FAILED")
            raise
        client.finalize_logged_model(logged.model_id, "READY")
    return f"models:/{logged.model_id}"


def save_model(bundle: ServingBundle, folder: Path, model: Model | None = None) -> None:
    """Write a bundle as an MLflow model folder, which ``mlflow.pyfunc.load_model`` reads."""
    with tempfile.TemporaryDirectory() as scratch:
        bundle.write(Path(scratch) / BUNDLE)
        mlflow.pyfunc.save_model(
            path=str(folder),
            mlflow_model=model,
            python_model=serving.__file__,
            artifacts={BUNDLE: str(Path(scratch) / BUNDLE)},
            signature=signature(bundle),
            input_example=input_example(bundle),
            pip_requirements=_requirements(bundle),
            code_paths=[str(carry_code(type(bundle.config), Path(scratch)))],
        )


def load_model(store: Store, uri: str) -> "PyFuncModel":
    """Load a model by URI (``models:/m-…``, ``models:/name@alias``, ``models:/name/1``) from a store.

    Pickled models are refused. The code that travels with the model is taken off ``sys.path`` again: this process uses its own clickflow,
    and processes that it starts must not import the copy.
    """
    path = list(sys.path)
    try:
        no_pickle = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
        with keep_environment(no_pickle), _reading(store, uri) as local:
            # MLflow would compare the requirements with every file of every installed package: half a CPU second or more.
            model: PyFuncModel = mlflow.pyfunc.load_model(str(local), suppress_warnings=True)
            return model
    finally:
        sys.path[:] = path


def read_bundle(store: Store, uri: str) -> ServingBundle:
    """Read the files that would be served for a URI, as :func:`load_model` takes it, without making a served model of them."""
    with _reading(store, uri, f"/artifacts/{BUNDLE}") as local:
        return ServingBundle.read(local)


def read_signature(store: Store, uri: str) -> ModelSignature | None:
    """Read the inputs and outputs of a model without loading it; None where it does not say."""
    with _reading(store, uri, f"/{MLMODEL_FILE_NAME}") as local:
        found: ModelSignature | None = Model.load(str(local)).signature
        return found


@contextlib.contextmanager
def _reading(store: Store, uri: str, part: str = "") -> Iterator[Path]:
    """Yield a model's folder, or a part of it, on this machine: the original, or a copy that is removed at the end.

    Every fault of reading it has one message; no progress bar is shown.
    """
    try:
        with keep_environment({"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}), tempfile.TemporaryDirectory() as scratch:
            location = model_location(store, uri).rstrip("/") + part
            is_here = location.startswith("file:") or "://" not in location
            copy = mlflow.artifacts.download_artifacts(location, tracking_uri=store.uri, dst_path=None if is_here else scratch)
            yield Path(copy)
    except TrackingError:
        raise
    except Exception as error:  # damaged files of MLflow's own may raise anything
        reason = " ".join(str(error).split())[:500]
        raise TrackingError(
            f"model {uri}: cannot be loaded from {store.uri} ({type(error).__name__}: {reason}); "
            "restore its files from a copy, or check the URI"
        ) from error


def signature(bundle: ServingBundle) -> ModelSignature:
    """Inputs: ``item``, required; ``history``, or ``user`` and ``timestamp``; user and context fields. Output: ``probability``."""
    anything = AnyType()  # type: ignore[no-untyped-call]
    optional = [fields.HISTORY, fields.USER, fields.TIMESTAMP, *(field.name for field in bundle.schema.impression_fields)]
    optional += [field.name for field in bundle.schema.numeric if field.role != "item"]
    columns: list[ColSpec | TensorSpec] = [
        ColSpec(anything, fields.ITEM),
        *(ColSpec(anything, name, required=False) for name in optional),
    ]
    return ModelSignature(inputs=Schema(columns), outputs=Schema([ColSpec(DataType.double, "probability")]))


def _requirements(bundle: ServingBundle) -> list[str]:
    """Installed versions, without the build's own suffix (``+cpu``), which no index serves; and the package that the model comes from."""
    installed = [f"{name}=={metadata.version(name).split('+')[0]}" for name in REQUIREMENTS]
    return installed if bundle.package is None else [*installed, bundle.package]
