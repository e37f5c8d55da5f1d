"""Agreement of predicted probabilities with observed clicks: log loss, calibration ratio, reliability.

A model can order impressions perfectly and still be wrong by a factor; a system that bids or ranks by expected value needs the number
itself.

Decision: the reliability bins hold equally many impressions instead of equally wide ranges. Click probabilities crowd near 0, where
equal widths would put nearly every impression into one bin and leave the others to chance.

Inputs, errors and warnings are those of :mod:`~clickflow.metrics.ranking`.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from clickflow.metrics.ranking import check_inputs, undefined


class ReliabilityBins(NamedTuple):
    """Predictions against clicks in K bins of (nearly) equally many impressions, ascending in prediction.

    Attributes:
        mean_prediction: (K,) float64, mean predicted probability.
        click_rate: (K,) float64, clicks / impressions.
        impressions: (K,) int64, number of impressions.
        edges: (K + 1,) float64, bin k holds the predictions from ``edges[k]`` to ``edges[k + 1]``; empty without rows.
    """

    mean_prediction: Tensor
    click_rate: Tensor
    impressions: Tensor
    edges: Tensor


def log_loss(preds: Tensor, target: Tensor) -> float:
    """Mean binary cross-entropy in nats per impression, summed in float64.

    Predictions are first clamped to [eps, 1 - eps], eps = machine epsilon of their type (1.2e-7 for float32), as in scikit-learn: a click
    predicted with exactly 0 costs 16 nats, not infinity.

    >>> round(log_loss(torch.tensor([0.5, 0.25]), torch.tensor([1, 0])), 4)
    0.4904
    """
    preds, target = check_inputs(preds, target)
    if not len(preds):
        return undefined("log_loss", "there are no rows")
    return float(row_losses(preds, target).mean())


def row_losses(preds: Tensor, click: Tensor) -> Tensor:
    """(B,) float64: binary cross-entropy in nats of each of (B,) probabilities, clamped as in :func:`log_loss`; ``click`` is (B,) bool."""
    eps = torch.finfo(preds.dtype).eps
    clamped = preds.clamp(eps, 1 - eps).double()
    return -torch.where(click, clamped, 1 - clamped).log()


def calibration(preds: Tensor, target: Tensor) -> float:
    """Mean prediction / click rate: 1 is right, 1.1 predicts 10 % more clicks than there were (He et al. 2014).

    He et al., "Practical Lessons from Predicting Clicks on Ads at Facebook", section 3.

    >>> calibration(torch.tensor([0.5, 0.5, 0.5, 0.0]), torch.tensor([1, 0, 0, 0]))
    1.5
    """
    preds, target = check_inputs(preds, target)
    clicks = int(target.sum())
    if not clicks:
        return undefined("calibration", f"no click in {len(target):,} rows")
    return float(preds.double().sum()) / clicks


def reliability(preds: Tensor, target: Tensor, num_bins: int = 20) -> ReliabilityBins:
    """Mean prediction and click rate in at most ``num_bins`` bins of equally many impressions; none without rows.

    Equal predictions stay in one bin, so the bins do not depend on the order of the rows; heavy ties therefore give fewer and less
    equal bins. An edge is halfway between the predictions on its two sides.

    >>> reliability(torch.tensor([0.1, 0.3, 0.6, 0.8]), torch.tensor([0, 0, 0, 1]), num_bins=2).click_rate
    tensor([0.0000, 0.5000], dtype=torch.float64)
    """
    if num_bins < 1:
        raise ValueError(f"num_bins = {num_bins}: must be at least 1")
    preds, target = check_inputs(preds, target)
    preds, order = preds.double().sort()
    if not len(preds):
        undefined("reliability", "there are no rows")
        return ReliabilityBins(preds, preds, order, preds)
    # A row goes to the bin of the first row with the same prediction, which may leave bins empty.
    count = torch.bincount(torch.searchsorted(preds, preds) * num_bins // len(preds))
    count = count[count > 0]
    row_bin = torch.repeat_interleave(count)
    zeros = preds.new_zeros(len(count))
    end = count.cumsum(0)
    inner = (preds[end[:-1] - 1] + preds[end[:-1]]) / 2
    return ReliabilityBins(
        mean_prediction=zeros.index_add(0, row_bin, preds) / count,
        click_rate=zeros.index_add(0, row_bin, target[order].double()) / count,
        impressions=count,
        edges=torch.cat([preds[:1], inner, preds[-1:]]),
    )
