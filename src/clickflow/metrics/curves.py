"""ROC and precision-recall curves on a fixed grid of 1,000 points, so that the curves of several runs can be overlaid.

MLflow draws a metric against its integer step: logged at step = 1000 * FPR (or 1000 * recall), curves of any runs share their x-axis. The
exact curve of a million rows has close to a million points, so it is computed exactly first and then read off at the grid.

Decision: each grid leaves out the end that is the same for every model, which keeps it at 1,000 points, MLflow's largest batch. ROC has
the steps 0 ... 999: at FPR 1 every model reaches TPR 1, while step 0 shows how many clicks are found before the first false alarm. PR has
the steps 1 ... 1000: precision at recall 0 is 0/0, while step 1000 shows what finding every click costs.

Inputs, errors and warnings are those of :mod:`~clickflow.metrics.ranking`.
"""

from typing import NamedTuple

import numpy as np
from torch import Tensor

from clickflow.data.arrays import FloatArray, IntArray
from clickflow.metrics.ranking import check_inputs, one_class, operating_points, undefined

NUM_POINTS = 1000


class Curve(NamedTuple):
    """A curve read off at the grid.

    Attributes:
        name: name of y as a logged metric: ``roc/tpr`` or ``pr/precision``.
        x: (1000,) FPR or recall, ascending, multiples of 0.001.
        y: (1000,) TPR or precision in [0, 1]; all NaN if the data cannot define the curve.
    """

    name: str
    x: FloatArray
    y: FloatArray

    @property
    def steps(self) -> IntArray:
        """(1000,) int64, 1000 * x: the step at which MLflow gets each point."""
        return np.rint(self.x * NUM_POINTS).astype(np.int64)


def roc_curve(preds: Tensor, target: Tensor) -> Curve:
    """True positive rate at FPR 0, 0.001 ... 0.999.

    Between two thresholds TPR is interpolated linearly, which corresponds to ties counting one half in the AUC. If the exact curve rises
    vertically at an FPR of the grid, the upper end is taken: that TPR is reached at this FPR. With the ends (0, 0) and (1, 1) the
    area under the points is within 0.0005 of the exact AUC: a monotone curve cannot move further between the points.
    """
    preds, target = check_inputs(preds, target)
    x = np.arange(NUM_POINTS) / NUM_POINTS
    if reason := one_class(target):
        return Curve("roc/tpr", x, np.full(NUM_POINTS, undefined("roc_curve", reason)))
    true_positives, false_positives = (counts.cpu().numpy() for counts in operating_points(preds, target))
    tpr, fpr = true_positives / true_positives[-1], false_positives / false_positives[-1]
    left = np.searchsorted(fpr, x, side="right") - 1  # the last point at or before x: the upper end of a vertical rise
    right = left + 1  # exists and is beyond x, because fpr ends at 1 > x
    share = (x - fpr[left]) / (fpr[right] - fpr[left])
    return Curve("roc/tpr", x, tpr[left] + share * (tpr[right] - tpr[left]))


def pr_curve(preds: Tensor, target: Tensor) -> Curve:
    """Precision at recall 0.001, 0.002 ... 1.

    The value at a recall is the precision of the first threshold, from the top, that reaches this recall or more: a point the model
    really attains. That is the step function whose area is the average precision (``pr_auc``). Linear interpolation would be too optimistic
    (Davis & Goadrich, "The Relationship Between Precision-Recall and ROC Curves", 2006), and so would the best precision at this recall or
    more.
    """
    preds, target = check_inputs(preds, target)
    x = np.arange(1, NUM_POINTS + 1) / NUM_POINTS
    if reason := one_class(target):
        return Curve("pr/precision", x, np.full(NUM_POINTS, undefined("pr_curve", reason)))
    true_positives, false_positives = (counts.cpu().numpy() for counts in operating_points(preds, target))
    first = np.searchsorted(true_positives / true_positives[-1], x, side="left")
    return Curve("pr/precision", x, true_positives[first] / (true_positives[first] + false_positives[first]))
