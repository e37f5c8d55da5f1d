"""Reading of a fit's checkpoints; Lightning writes them, but plain torch loads them, as weights and numbers only."""

from pathlib import Path

import torch
from torch import nn

from clickflow.errors import TrainingError
from clickflow.training.watching import WATCHED


def load_weights(model: nn.Module, checkpoint: Path) -> int:
    """Load the weights of a checkpoint into a model and return the checkpoint's epoch.

    Raises:
        TrainingError: the file is damaged or belongs to another model.
    """
    try:
        saved = torch.load(checkpoint, weights_only=True)
        state = {key.removeprefix("model."): value for key, value in saved["state_dict"].items() if key.startswith("model.")}
        model.load_state_dict(state)
    except Exception as error:  # unpickling damaged bytes may raise anything
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise TrainingError(
            f"checkpoint {checkpoint.name}: cannot be loaded ({reason}); it must be whole and of this model; train again."
        ) from error
    return int(saved["epoch"])


def read_progress(checkpoint: Path) -> tuple[int, int]:
    """Steps and validations that a watched fit had done when it wrote a checkpoint.

    Raises:
        TrainingError: the file is damaged.
    """
    try:
        saved = torch.load(checkpoint, weights_only=True)
        return int(saved["global_step"]), int(saved["callbacks"][WATCHED]["num_validations"])
    except Exception as error:  # unpickling damaged bytes may raise anything
        raise TrainingError(f"checkpoint {checkpoint.name}: cannot be loaded ({type(error).__name__}); train again.") from error
