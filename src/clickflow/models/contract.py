"""What every model takes and gives: ``Batch -> ModelOutput``, so that training has no branch per model."""

from typing import NamedTuple

from torch import Tensor, nn


class ModelOutput(NamedTuple):
    """What a model makes of a batch of B rows.

    Attributes:
        logit: (B,) before the sigmoid.
        auxiliary_loss: scalar to be added to the click loss, or None.
        attention: (P,) weight of each behaviour of a row's history given its target, row after row: in the order of ``Batch.history``
            where every row has a history of its own, of :class:`~clickflow.models.layers.pairs.Pairs` where rows share; None where a model
            has none.
    """

    logit: Tensor
    auxiliary_loss: Tensor | None = None
    attention: Tensor | None = None


def draws_negatives(model: nn.Module) -> bool:
    """Whether a model is trained on ``Batch.negative_history``; it says so by an attribute of this name, without one it is not."""
    return bool(getattr(model, "draws_negatives", False))
