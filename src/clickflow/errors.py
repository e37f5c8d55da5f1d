"""Errors a user can act on.

A message reads ``where = value: what is wrong; what is allowed; what to do``. Commands print it without a traceback and exit with
:data:`EXIT_CODE_ERROR`; a command whose answer is no (not better, not the same) exits with :data:`EXIT_CODE_NO`. Wrong arguments of a
function are a plain ``ValueError``; ``assert`` is for invariants.
"""

import os
import re
from types import FrameType

EXIT_CODE_ERROR = 2
EXIT_CODE_NO = 3
EXIT_CODE_INTERRUPTED = 130


class ClickflowError(Exception):
    """Base of every error that reaches the user as one message instead of a traceback.

    It hides passwords in URIs, because messages end up in logs and in the tags of runs.
    """

    def __init__(self, message: str) -> None:
        super().__init__(without_passwords(message))


def interrupt(number: int, frame: FrameType | None) -> None:
    """Handle a signal as Ctrl-C is handled."""
    raise KeyboardInterrupt


def without_passwords(text: str) -> str:
    """Hide the passwords in the URIs of a text.

    >>> without_passwords("tracking.uri = postgresql://ada:s3cr@host/db?user=u&password=p1: refused")
    'tracking.uri = postgresql://ada:***@host/db?user=u&password=***: refused'
    """
    text = re.sub(r"(\w://[^:/@\s]*):[^@\s]*@", r"\1:***@", text)
    return re.sub(r"([?&]password=)[^&\s:]*", r"\1***", text)


def system_reason(error: OSError) -> str:
    """The system's own words for the fault, without the file's name, which the message has already."""
    return os.strerror(error.errno) if error.errno else str(error)


class ConfigError(ClickflowError):
    """The composed config cannot be run."""


class DataError(ClickflowError):
    """A log, an item table, a download or a prepared dataset cannot be used."""


class TrackingError(ClickflowError):
    """The MLflow store cannot be reached, or a run lacks what was asked of it."""


class TrainingError(ClickflowError):
    """Training cannot give a result, for example because the loss is not finite."""


class PromotionError(ClickflowError):
    """A model cannot be promoted, compared with the champion, or rolled back."""
