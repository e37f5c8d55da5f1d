"""The gate: is the challenger better than the champion on the same test rows, beyond chance?

Decision: the lower end of a two-sided interval decides, not a one-sided test: with no true difference half of alpha is promoted wrongly,
and the interval that is printed is the one that decided.
"""

import math
import warnings
from dataclasses import dataclass

import torch

from clickflow.errors import PromotionError
from clickflow.metrics.headings import HEADINGS, LIST_METRICS
from clickflow.metrics.ranking import MetricUndefinedWarning
from clickflow.metrics.scored_rows import ScoredRows
from clickflow.metrics.significance import NO_DIFFERENCE, PairedDifference, bootstrap_gauc, bootstrap_lists, delong

LEAST_REPLICATES = 2_000
TAIL_REPLICATES = 20
"""Half of these replicates, at least, are beyond each end of the interval."""


@dataclass(frozen=True)
class Verdict:
    """The gate's answer.

    Attributes:
        metric: ``auc``, ``gauc`` or a metric within lists.
        found: the difference to the champion, paired on the same test rows.
        min_effect: what the lower end of its interval must exceed.
        alpha: probability that the interval misses the true difference.
    """

    metric: str
    found: PairedDifference
    min_effect: float
    alpha: float

    @property
    def is_passed(self) -> bool:
        """Whether the challenger may become champion; an undefined interval does not pass."""
        return self.found.low > self.min_effect

    @property
    def difference(self) -> str:
        """``GAUC +0.0123, 95 % interval [+0.0045, +0.0201]``."""
        difference, low, high, _ = self.found
        return f"{HEADINGS[self.metric]} {difference:+.4f}, {100 * (1 - self.alpha):.4g} % interval [{low:+.4f}, {high:+.4f}]"

    @property
    def needed(self) -> str:
        """The advice for a challenger that did not pass."""
        difference, low, _, _ = self.found
        if math.isnan(low):
            return "these rows cannot tell how sure the difference is; test rows of more users with clicks and non-clicks are needed"
        if self.found == NO_DIFFERENCE:
            return "it ranks these rows exactly as the champion does; a better model is needed"
        needed = f"the lower end must lie above {self.min_effect:+.4f}"
        if difference <= self.min_effect:
            return f"{needed}; a better model is needed"
        times = ((difference - low) / (difference - self.min_effect)) ** 2
        larger = difference - low + self.min_effect
        return f"{needed}; a difference above {larger:+.4f} on these rows, or this one on about {times:.1f} times the users, is needed"


def gate_verdict(rows: ScoredRows, champion: ScoredRows, metric: str, *, min_effect: float, alpha: float) -> Verdict:
    """Judge a challenger by its predictions and the champion's of the same R rows in the same order.

    ``metric`` is ``auc`` (DeLong, clustered by user), ``gauc`` or, for rows with lists, a metric within lists (both: bootstrap over users);
    the rest is a :class:`Verdict`'s.

    Raises:
        PromotionError: the rows are not the same.
    """
    if not all(torch.equal(one, other) for one, other in ((rows.target, champion.target), (rows.group, champion.group))):
        raise PromotionError(
            f"test rows: the {len(rows.target):,} of the challenger and the {len(champion.target):,} of the champion are not the same; "
            "only models scored on the same rows in the same order can be compared; prepare the data again and repeat."
        )
    columns = rows.preds.unsqueeze(0), champion.preds.unsqueeze(0), rows.target
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetricUndefinedWarning)  # the verdict says so
        if metric == "auc":
            found = delong(*columns, group=rows.group, alpha=alpha)
        else:
            replicates = max(LEAST_REPLICATES, math.ceil(TAIL_REPLICATES / alpha))
            if metric in LIST_METRICS:
                assert rows.list_id is not None  # else its run would have no such metric
                found = bootstrap_lists(metric, *columns, rows.group, rows.list_id, num_replicates=replicates, alpha=alpha)
            else:
                found = bootstrap_gauc(*columns, rows.group, num_replicates=replicates, alpha=alpha)
    return Verdict(metric, found, min_effect, alpha)
