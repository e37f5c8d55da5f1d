"""The manifest of a prepared dataset: everything a prepared dataset records about itself."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clickflow.config import StrictConfig
from clickflow.data.schema import Schema
from clickflow.errors import DataError

FORMAT_VERSION = 2
MANIFEST = "manifest.json"


class SplitSummary(StrictConfig):
    """Summary of one split by ``prepare``."""

    rows: int
    positives: int
    users: int
    first_timestamp: int
    last_timestamp: int
    lists: int | None = None
    """Lists that its rows were ranked in; None if the log names none."""


class Manifest(StrictConfig):
    """Everything a prepared dataset says of itself."""

    format_version: int
    name: str
    protocol: dict[str, Any]
    source: dict[str, Any]
    fields: Schema
    timestamp_unit: str
    num_users: int
    num_items: int
    num_behaviours: int
    has_order: bool = True
    """Whether any user's behaviours happened at two different moments; a model of sequences needs that."""
    history_length_quantiles: dict[str, float]
    splits: dict[str, SplitSummary]
    counts: dict[str, int]
    """Counts of rows dropped or noted on the way, by name."""
    versions: dict[str, str]
    checksums: dict[str, str]
    """SHA-256 of the values of every column (``file.arrow:column``) and of every table of raw ids (``file.parquet``)."""
    files: dict[str, str]
    """SHA-256 of the bytes of every file, by its path in the folder."""
    fingerprint: str
    """SHA-256 over the checksums and the schema."""


def fingerprint(checksums: Mapping[str, str], fields: Schema) -> str:
    """SHA-256 over all checksums and the schema: equal data, equal fingerprint."""
    return hashlib.sha256(json.dumps([sorted(checksums.items()), fields.model_dump(mode="json")]).encode()).hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest; the last file of a prepared folder."""
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a prepared folder.

    Raises:
        DataError: it is missing, damaged, or of another format version.
    """
    try:
        values = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        version = values["format_version"]
        if version == FORMAT_VERSION:
            return Manifest.model_validate_json(json.dumps(values))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damaged(folder, f"{MANIFEST} cannot be read ({str(error).splitlines()[0]})") from error
    raise DataError(
        f"{folder} = format version {version}: this clickflow reads version {FORMAT_VERSION}; remove the folder and prepare again."
    )


def damaged(folder: Path, what: str) -> DataError:
    """The error for a prepared folder that is not as it was written."""
    return DataError(
        f"prepared dataset {folder}: {what}; a prepared folder is never changed after it is made; remove it and prepare again."
    )
