"""Silence for Optuna's own messages: a sweep speaks to its user itself."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import optuna
from optuna.exceptions import ExperimentalWarning


@contextmanager
def quietly() -> Iterator[None]:
    """Suppress Optuna's messages about new studies, experimental functions and studies that are too small for an analysis."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            for category in (UserWarning, ExperimentalWarning):
                warnings.simplefilter("ignore", category)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
