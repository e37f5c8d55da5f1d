"""What every model takes and gives: ``Batch -> ModelOutput``, so that training has no branch per model."""

from typing import NamedTuple

from torch import Tensor, nn


class ModelOutput(NamedTuple):
    """What a model makes of a batch of B rows.

    Attributes:
        logit: (B,) before the sigmoid.
        auxiliary_loss: scalar to be added to the click loss, or None.
        attention: (N,) weight of each behaviour of ``Batch.history`` given its row's target, or None where a model has none.
    """

    logit: Tensor
    auxiliary_loss: Tensor | None = None
    attention: Tensor | None = None


def draws_negatives(model: nn.Module) -> bool:
    """Whether a model is trained on ``Batch.negative_history``; it says so by an attribute of this name, without one it is not."""
    return bool(getattr(model, "draws_negatives", False))
