"""Predictions of a trained model over a whole split."""

import torch
from torch import Tensor, nn

from clickflow.data.dataset import BatchLoader


def predict_batches(model: nn.Module, loader: BatchLoader) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities (R,), labels (R,) and groups (R,) of all rows of a loader, in its order."""
    was_training = model.training
    model.eval()
    preds, labels, groups = [], [], []
    with torch.inference_mode():
        for batch in loader:
            assert batch.label is not None
            assert batch.group is not None
            preds.append(torch.sigmoid(model(batch).logit))
            labels.append(batch.label)
            groups.append(batch.group)
    model.train(was_training)
    return torch.cat(preds), torch.cat(labels), torch.cat(groups)
