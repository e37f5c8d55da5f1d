"""The prepared data set of a run: named on the run, opened again from there, and refused where no model can learn from it."""

from pathlib import Path

from clickflow.data.dataset import PreparedDataset
from clickflow.data.prepare import prepare
from clickflow.errors import ConfigError, DataError
from clickflow.runs.config import PrepareConfig, RunConfig
from clickflow.tracking.names import DATASET_FOLDER_TAG, FINGERPRINT_TAG
from clickflow.tracking.run import Run
from clickflow.tracking.search import FoundRun


def log_dataset(run: Run, dataset: PreparedDataset) -> None:
    """Name the data set on a run: the run's tags find the prepared folder again, and MLflow's pages show the sizes."""
    manifest = dataset.manifest
    run.set_tags({FINGERPRINT_TAG: manifest.fingerprint, DATASET_FOLDER_TAG: str(dataset.folder)})
    profile = {"users": manifest.num_users, "items": manifest.num_items, "behaviours": manifest.num_behaviours}
    profile |= {f"{name}_rows": split.rows for name, split in manifest.splits.items()}
    run.log_dataset(manifest.name, manifest.fingerprint, str(dataset.folder), profile, "training")


def open_dataset(run: FoundRun, config: PrepareConfig, home: Path) -> PreparedDataset:
    """The data set that a run was trained on, prepared again in a home folder if its own folder is not on this machine."""
    return open_expected(
        Path(run.tags.get(DATASET_FOLDER_TAG, "")),
        config,
        home,
        fingerprint=run.tags.get(FINGERPRINT_TAG),
        seen=f"run {run.run_id} was trained on",
        advice="the source has changed since; bring back the source the run was trained on, or train again.",
    )


def open_expected(folder: Path, config: PrepareConfig, home: Path, *, fingerprint: str | None, seen: str, advice: str) -> PreparedDataset:
    """Open a prepared folder, or prepare the data in a home folder if there is none; a DataError if it has another fingerprint.

    The message says who has ``seen`` the expected data set, and gives the advice.
    """
    dataset = PreparedDataset.open(folder) if folder.is_dir() else prepare(config.data, config.protocol, home)
    found = dataset.manifest.fingerprint
    if found != fingerprint:
        raise DataError(f"data set {config.data.name}, fingerprint = {found[:12]}: {seen} {str(fingerprint)[:12]}; {advice}")
    return dataset


def refuse_one_class(dataset: PreparedDataset, names: tuple[str, ...] = ("train", "validation")) -> None:
    """Raise a DataError for splits whose labels are all alike: they teach nothing, and no ranking metric is defined on them."""
    for name in names:
        split = dataset.manifest.splits[name]
        if split.positives in (0, split.rows):
            label = 1 if split.positives else 0
            raise DataError(
                f"data set {dataset.manifest.name}, split {name}: all {split.rows:,} labels are {label}; both classes are needed; check "
                "the label column (or protocol.threshold), or set protocol=next_item, which draws negatives."
            )


def refuse_without_order(config: RunConfig, dataset: PreparedDataset) -> None:
    """Raise a ConfigError for data without an order where the model reads histories as sequences: it would learn nothing."""
    if config.model.name == "dien" and not dataset.manifest.has_order:
        raise ConfigError(
            f"model.name = dien: reads histories as sequences, but no user of {config.data.name} has behaviours at two different times; "
            "name a column with their order as data.columns.timestamp (data.timestamp_unit=order takes positions), or set model=din."
        )
