"""SHA-256 digests of files and of plain values."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clickflow.errors import system_reason


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a folder, by its path in it."""
    return {path.relative_to(folder).as_posix(): digest_file(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def first_difference(folder: Path, expected: Mapping[str, str]) -> tuple[str, str] | None:
    """The first file that is not as expected (path in the folder -> SHA-256), and what is wrong with it; None if all are."""
    for name, digest in expected.items():
        try:
            found = digest_file(folder / name)
        except OSError as error:
            return name, f"cannot be read ({system_reason(error)})"
        if found != digest:
            return name, "does not match its checksum"
    return None


def digest_values(values: Any) -> str:
    """SHA-256 of plain values, as JSON has them; the order of keys does not matter.

    >>> digest_values({"a": 1, "b": [2]}) == digest_values({"b": [2], "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
