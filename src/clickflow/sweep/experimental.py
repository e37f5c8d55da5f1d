"""Optuna warns of parts that may change in a later version; ours is bounded in pyproject.toml."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from optuna.exceptions import ExperimentalWarning


@contextmanager
def experimental_allowed() -> Iterator[None]:
    """Leave the warning out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield
