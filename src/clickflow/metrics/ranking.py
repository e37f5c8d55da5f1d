"""Order of impressions by their predictions: AUC, average precision and the AUC within each user.

Plain functions on tensors; :class:`~clickflow.metrics.click_metrics.ClickMetrics` is the shell that collects over batches.

Decision: no torchmetrics here. Its import loads SciPy's signal processing and matplotlib's ``pyplot``, a fifth of what a promotion costs,
and only training needs it. ``auc`` and ``pr_auc`` equal its exact ones to the last digit (tests), so that values logged before still
reproduce. ``gauc`` it lacks: ``RetrievalAUROC`` loops over users and weights them equally.

All metrics take columns of B rows: ``preds`` (click probabilities), ``target`` (1 click, 0 no click) and ``group`` (integer, the user of
each impression; any values, in any order). They raise a ValueError for anything else, and warn with a :class:`MetricUndefinedWarning`
where they are NaN.

Decision: a metric that the data cannot define is NaN with a :class:`MetricUndefinedWarning`, never 0 (torchmetrics' choice), because a 0
looks like a very bad model, sorts like one in a run table and steers early stopping. A value that is not a probability is refused, not put
through a sigmoid: a rule that looks at the values of each call would treat two batches of one model differently.
"""

import math
import warnings
from typing import NamedTuple

import torch
from torch import Tensor

_INTEGER_TYPES = (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8)


class MetricUndefinedWarning(UserWarning):
    """The data cannot define a metric (no rows, or one class only); its value is NaN."""


class GroupAUC(NamedTuple):
    """GAUC, the number of users that count in it, and that of the users whose impressions are all of one class."""

    value: float
    users: int
    users_skipped: int


def auc(preds: Tensor, target: Tensor) -> float:
    """Area under the ROC curve, exact: the probability that a click is scored above a non-click, ties counting one half.

    >>> auc(torch.tensor([0.1, 0.4, 0.4, 0.8]), torch.tensor([0, 0, 1, 1]))
    0.875
    """
    preds, target = check_inputs(preds, target)
    if reason := one_class(target):
        return undefined("auc", reason)
    true_positives, false_positives = operating_points(preds, target)
    return float(torch.trapezoid(true_positives / true_positives[-1], false_positives / false_positives[-1]))


def pr_auc(preds: Tensor, target: Tensor) -> float:
    """Average precision, exact: sum over thresholds of (recall gained) * (precision there), without interpolation.

    >>> round(pr_auc(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([0, 0, 1, 1])), 4)
    0.8333
    """
    preds, target = check_inputs(preds, target)
    if reason := one_class(target):
        return undefined("pr_auc", reason)
    true_positives, false_positives = operating_points(preds, target)
    precision = true_positives[1:] / (true_positives + false_positives)[1:]
    recall_gained = (true_positives / true_positives[-1]).diff()
    return float((recall_gained * precision).flip(0).sum())  # from the lowest threshold up, which is torchmetrics' order


def gauc(preds: Tensor, target: Tensor, group: Tensor) -> GroupAUC:
    """Mean of the users' AUC, weighted by their impressions (DIN, Zhou et al. 2018, equation 10).

    A user whose impressions are all clicks or all non-clicks has no AUC and is skipped. User 7 (AUC 1, 2 impressions) and user 8 (AUC 1/2,
    3 impressions) count, user 9 has no click:

    >>> gauc(torch.tensor([0.9, 0.2, 0.3, 0.5, 0.7, 0.6]), torch.tensor([1, 0, 0, 1, 0, 0]), torch.tensor([7, 7, 8, 8, 8, 9]))
    GroupAUC(value=0.7, users=2, users_skipped=1)
    """
    preds, target = check_inputs(preds, target)
    check_group(group, preds)
    impressions, clicks, twice_u = user_statistics(preds, target, group)
    pairs = clicks * (impressions - clicks)  # (U,) pairs of a click and a non-click
    both = pairs > 0
    users, users_skipped = int(both.sum()), int((~both).sum())
    if users == 0:
        reason = f"none of the {users_skipped} users has both a click and a non-click" if users_skipped else "there are no rows"
        return GroupAUC(undefined("gauc", reason), users, users_skipped)
    user_auc = twice_u[both].double() / (2 * pairs[both])
    weight = impressions[both].double()
    return GroupAUC(float((user_auc * weight).sum() / weight.sum()), users, users_skipped)


def rela_impr(auc: float, base_auc: float) -> float:
    """Relative improvement over a base model, (AUC - 0.5) / (base AUC - 0.5) - 1 (DIN, Zhou et al. 2018, equation 11).

    A random order reaches 0.5, so only the part above it counts; NaN if the base model's AUC or GAUC is not above it.

    >>> round(rela_impr(0.75, base_auc=0.7), 4)
    0.25
    """
    if base_auc <= 0.5:
        return undefined("rela_impr", f"the base model's AUC is {base_auc:g}, not above 0.5")
    return (auc - 0.5) / (base_auc - 0.5) - 1


def operating_points(preds: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """True and false positives, (T + 1,) int64 each, from "nothing is positive" (0, 0) down the T distinct predictions to "all are".

    Args:
        preds: (B,) click probabilities, at least one.
        target: (B,) bool.
    """
    preds, order = preds.sort(descending=True)
    predicted = torch.cat([preds.diff().nonzero().squeeze(1) + 1, order.new_tensor([len(order)])])  # (T,) rows down to each
    true_positives = target[order].cumsum(0)[predicted - 1]
    pad = torch.nn.functional.pad
    return pad(true_positives, (1, 0)), pad(predicted - true_positives, (1, 0))


def check_inputs(preds: Tensor, target: Tensor, name: str = "preds") -> tuple[Tensor, Tensor]:
    """Return (B,) probabilities as float32 or float64 without gradient, and (B,) targets of any type as bool.

    Raises:
        ValueError: names the input and what is wrong with it.
    """
    if preds.ndim != 1 or not preds.is_floating_point():
        raise ValueError(f"{name} = {preds.dtype} of shape {tuple(preds.shape)}: must be a column of probabilities, (B,) floating")
    if target.shape != preds.shape:
        raise ValueError(f"target = shape {tuple(target.shape)}: must be that of {name}, {tuple(preds.shape)}")
    preds = preds.detach()
    if preds.dtype not in (torch.float32, torch.float64):
        preds = preds.float()
    if preds.numel():
        lowest, highest = (float(value) for value in preds.aminmax())  # NaN where any value is
        if math.isnan(lowest):
            raise ValueError(
                f"{name} = NaN in {int(preds.isnan().sum()):,} of {len(preds):,} rows: must be probabilities; did training diverge?"
            )
        if lowest < 0 or highest > 1:
            raise ValueError(f"{name} = {lowest:.4g} to {highest:.4g}: must be probabilities in [0, 1]; pass logit.sigmoid(), not logits")
    click = target == 1
    if not bool((click | (target == 0)).all()):
        raise ValueError(f"target = {target[~click & (target != 0)][0].item()}: must be 1 (click) or 0 (no click)")
    return preds, click


def check_group(group: Tensor, preds: Tensor, name: str = "group") -> None:
    """Raise a ValueError unless ``group`` is an integer column as long as ``preds`` (B,)."""
    if group.shape != preds.shape or group.dtype not in _INTEGER_TYPES:
        raise ValueError(f"{name} = {group.dtype} of shape {tuple(group.shape)}: must be an integer column of shape {tuple(preds.shape)}")


def one_class(target: Tensor) -> str:
    """Reason, in words, why (B,) bool targets hold no pair of a click and a non-click; empty if they hold one.

    >>> one_class(torch.tensor([True, True]))
    'all 2 targets are 1'
    """
    if not len(target):
        return "there are no rows"
    return f"all {len(target):,} targets are {int(target[0])}" if bool((target == target[0]).all()) else ""


def undefined(metric: str, reason: str) -> float:
    """Return NaN and issue a :class:`MetricUndefinedWarning` with the reason, at the line that called the metric."""
    warnings.warn(f"{metric}: undefined, {reason}; the value is NaN", MetricUndefinedWarning, stacklevel=3)
    return math.nan


def user_statistics(preds: Tensor, target: Tensor, group: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Impressions, clicks and twice the Mann-Whitney U of each user, (U,) int64 each.

    U counts the pairs in which the click is scored above the non-click, ties one half; AUC = U / pairs (Hanley & McNeil 1982). It is the
    sum of the clicks' midranks minus its smallest possible value. Twice a midrank is an integer, so the sums are exact.
    """
    order = preds.argsort()
    order = order[group[order].argsort(stable=True)]  # by user, and within a user by prediction
    preds, target, group = preds[order], target[order], group[order]
    new_user = differs_from_previous(group)
    user_start, user_end, user = segments(new_user)
    tie_start, tie_end, tie = segments(new_user | differs_from_previous(preds))
    # A run of ties holds the ranks start + 1 ... end of all rows; within its user they are less by the rows before the user.
    twice_midrank = (tie_start + tie_end + 1)[tie] - 2 * user_start[user]  # (B,)
    clicks = torch.zeros_like(user_start).index_add_(0, user, target.long())
    twice_ranks = torch.zeros_like(user_start).index_add_(0, user, twice_midrank * target)
    return user_end - user_start, clicks, twice_ranks - clicks * (clicks + 1)


def differs_from_previous(values: Tensor) -> Tensor:
    """(B,) bool, true in the first row."""
    first = torch.ones(min(len(values), 1), dtype=torch.bool, device=values.device)
    return torch.cat([first, values[1:] != values[:-1]])


def segments(is_start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Half-open ranges (S,), (S,) of the segments that begin where ``is_start`` (B,), and each row's segment (B,)."""
    start = is_start.nonzero().squeeze(1)
    end = torch.cat([start[1:], start.new_full((min(len(start), 1),), len(is_start))])
    return start, end, is_start.cumsum(0) - 1
