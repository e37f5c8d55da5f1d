"""The checkpoints of a training: in the home folder while it is under way, then among the run's artifacts with digests in its tags."""

import shutil
import tempfile
from pathlib import Path

from torch import nn

from clickflow.data.dataset import PreparedDataset
from clickflow.data.storage import digest_source
from clickflow.errors import TrackingError
from clickflow.runs.config import RunConfig
from clickflow.tracking.contents import fetch_artifact
from clickflow.tracking.names import CHECKPOINTS_REMOVED_TAG, checkpoint_digest_tag
from clickflow.tracking.run import Run
from clickflow.tracking.search import FoundRun
from clickflow.tracking.store import Store
from clickflow.training.checkpoints import load_weights

FOLDER = "checkpoints"


def checkpoint_folder(home: Path, run_id: str) -> Path:
    """The folder that a training writes its checkpoints to while it is under way."""
    return home / FOLDER / run_id


def keep_checkpoints(run: Run, home: Path) -> None:
    """Move the checkpoints of a run from the home folder to its artifacts; the tags get their digests first."""
    folder = checkpoint_folder(home, run.id)
    checkpoints = sorted(folder.glob("*.ckpt"))
    if checkpoints:
        run.set_tags({checkpoint_digest_tag(checkpoint.stem): digest_source(checkpoint) for checkpoint in checkpoints})
    for checkpoint in checkpoints:
        run.log_file(checkpoint, FOLDER)
    shutil.rmtree(folder, ignore_errors=True)


def read_best_model(store: Store, run: FoundRun, config: RunConfig, dataset: PreparedDataset) -> nn.Module:
    """The model with the best weights of a run.

    Raises:
        TrackingError: the checkpoint is missing, was removed, or is not as the training wrote it.
        TrainingError: the checkpoint cannot be loaded.
    """
    model = config.model.build(dataset.schema)
    with tempfile.TemporaryDirectory() as scratch:
        path = fetch_best_checkpoint(store, run, Path(scratch))
        expected, found = run.tags.get(checkpoint_digest_tag(path.stem)), digest_source(path)
        if expected not in (None, found):  # runs made before there were digests have none
            raise TrackingError(
                f"run {run.run_id}, {FOLDER}/{path.name}: SHA-256 = {found[:12]}, but the training wrote {str(expected)[:12]}; the file "
                "was damaged or replaced; restore it from a copy, or train again."
            )
        load_weights(model, path)
    return model


def fetch_best_checkpoint(store: Store, run: FoundRun, scratch: Path) -> Path:
    """Copy the checkpoint with the best weights into a folder; the TrackingError for a missing or removed one says what to do."""
    try:
        return fetch_artifact(store, run.run_id, f"{FOLDER}/best.ckpt", scratch)
    except TrackingError as error:
        removed = run.tags.get(CHECKPOINTS_REMOVED_TAG)
        if removed is None:
            raise TrackingError(f"{error}; where only the checkpoint was deleted, evaluate the logged model: model=models:/m-…") from error
        raise TrackingError(
            f"run {run.run_id}: its checkpoints were removed {removed}; its logged model is still there (model=models:/m-…, on the run's "
            f"page), and clickflow reproduce run_id={run.run_id} trains it again"
        ) from error
