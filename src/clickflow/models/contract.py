"""The contract of every model, ``Batch -> ModelOutput``, so that training has no branch per model."""

from typing import NamedTuple

from torch import Tensor, nn


class ModelOutput(NamedTuple):
    """Output of a model for a batch of B rows.

    Attributes:
        logit: (B,) scores before the sigmoid.
        auxiliary_loss: scalar to add to the click loss, or None.
        attention: (P,) weight of each behaviour of a row's history given its target, row after row: in the order of ``Batch.history``
            if every row has a history of its own, of :class:`~clickflow.models.layers.pairs.Pairs` if rows share one; None for a model
            without attention.
    """

    logit: Tensor
    auxiliary_loss: Tensor | None = None
    attention: Tensor | None = None


def draws_negatives(model: nn.Module) -> bool:
    """Whether a model trains on ``Batch.negative_history``: its attribute of this name, False if it has none."""
    return bool(getattr(model, "draws_negatives", False))
