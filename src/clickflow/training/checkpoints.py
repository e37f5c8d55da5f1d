"""Reading of a fit's checkpoints; Lightning writes them, but plain torch loads them, as weights and numbers only."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from clickflow.errors import TrainingError
from clickflow.training.watching import WATCHED


def load_weights(model: nn.Module, checkpoint: Path) -> int:
    """Load the weights of a checkpoint into a model and return the checkpoint's epoch."""
    with _loaded(checkpoint) as saved:
        state = {key.removeprefix("model."): value for key, value in saved["state_dict"].items() if key.startswith("model.")}
        model.load_state_dict(state)
        return int(saved["epoch"])


def read_progress(checkpoint: Path) -> tuple[int, int]:
    """Steps and validations that a watched fit had done when it wrote a checkpoint."""
    with _loaded(checkpoint) as saved:
        return int(saved["global_step"]), int(saved["callbacks"][WATCHED]["num_validations"])


@contextlib.contextmanager
def _loaded(checkpoint: Path) -> Iterator[dict[str, Any]]:
    """Load a checkpoint; a TrainingError if it is damaged or, as its reader finds, belongs to another model."""
    try:
        yield torch.load(checkpoint, weights_only=True)
    except Exception as error:  # unpickling damaged bytes may raise anything
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise TrainingError(
            f"checkpoint {checkpoint.name}: cannot be loaded ({reason}); it must be whole and of this model; train again."
        ) from error
