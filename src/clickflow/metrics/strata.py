"""The metrics of many parts of the same rows at once, such as those of each device or of each length of history.

Decision: all strata in one pass. Filtering the rows for each stratum and measuring it costs strata times rows; here it is a few sorts,
for any number of strata. A metric that a stratum cannot define is NaN without a warning: a table of slices is full of small strata.
"""

import math

import torch
from torch import Tensor

from clickflow.metrics.calibration import row_losses
from clickflow.metrics.intervals import auc_and_error, logit_interval
from clickflow.metrics.placements import clustered
from clickflow.metrics.ranking import check_group, check_inputs, user_statistics

FEWEST = 10
"""Clicks, and non-clicks, below which a stratum's AUC has no interval: a variance of a handful of placements is a guess."""


def metrics_by_stratum(preds: Tensor, target: Tensor, user: Tensor, stratum: Tensor) -> dict[str, Tensor]:
    """Measure each of K strata, one column (K,) per measure; ``auc_low`` and ``auc_high`` are the 95 % interval of the AUC.

    ``user`` (B,) counts from 0, and so does ``stratum`` (B,), of which every one occurs; inputs and errors are otherwise those of
    :func:`~clickflow.metrics.ranking.gauc`.
    """
    preds, click = check_inputs(preds, target)
    check_group(user, preds)
    check_group(stratum, preds)
    cluster, of_cluster = clustered(user, stratum)
    rows, users = torch.bincount(stratum), torch.bincount(of_cluster)

    def total(values: Tensor, index: Tensor) -> Tensor:
        return torch.zeros(len(rows), dtype=torch.float64).index_add_(0, index, values.double())

    clicks = torch.bincount(stratum[click], minlength=len(rows))
    auc, error = auc_and_error(preds, click, cluster, of_cluster)
    enough = torch.minimum(clicks, rows - clicks) >= FEWEST
    low, high = logit_interval(auc, torch.where(enough, error, math.nan))
    impressions, user_clicks, twice_u = user_statistics(preds, click, cluster)
    pairs = user_clicks * (impressions - user_clicks)
    weight = torch.where(pairs > 0, impressions, 0)  # a user of one class does not count
    gauc = total(weight * twice_u / (2 * pairs.clamp(min=1)), of_cluster) / total(weight, of_cluster)
    return {
        "rows": rows,
        "users": users,
        "clicks": clicks,
        "click_rate": clicks.double() / rows,
        "auc": auc,
        "auc_low": low,
        "auc_high": high,
        "gauc": gauc,
        "log_loss": total(row_losses(preds, click), stratum) / rows,
        "calibration": torch.where(clicks > 0, total(preds, stratum) / clicks, math.nan),
    }
