"""SHA-256 digests of files and of plain values."""

import hashlib
import json
from pathlib import Path
from typing import Any


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a folder, by its path in it."""
    return {path.relative_to(folder).as_posix(): digest_file(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def digest_values(values: Any) -> str:
    """SHA-256 of plain values, as JSON has them; the order of keys does not matter.

    >>> digest_values({"a": 1, "b": [2]}) == digest_values({"b": [2], "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
