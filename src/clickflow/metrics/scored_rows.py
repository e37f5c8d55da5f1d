"""Rows with a model's predictions, and all click metrics of them."""

from typing import NamedTuple, Self

import torch
from torch import Tensor

from clickflow.metrics.calibration import calibration, log_loss
from clickflow.metrics.lists import list_metrics
from clickflow.metrics.ranking import auc, check_group, check_inputs, gauc, pr_auc


class ScoredRows(NamedTuple):
    """Impressions with a model's predictions.

    Attributes:
        preds: (B,) float32 or float64 click probabilities.
        target: (B,) uint8, 1 click, 0 no click.
        group: (B,) int64, the user.
        list_id: (B,) int64, the list that each row was ranked in, -1 for none; None if the log has no lists.
    """

    preds: Tensor
    target: Tensor
    group: Tensor
    list_id: Tensor | None = None

    @classmethod
    def checked(cls, preds: Tensor, target: Tensor, group: Tensor, list_id: Tensor | None = None) -> Self:
        """Check the columns and bring them to their types.

        Args:
            preds: (B,) click probabilities; take the sigmoid in float32, in half precision it makes ties.
            target: (B,) 1 click, 0 no click, of any type.
            group: (B,) integer, the user of each row.
            list_id: (B,) integer, the list of each row, -1 for none; or None.

        Raises:
            ValueError: ``preds`` are not probabilities, or the columns differ in length.
        """
        preds, click = check_inputs(preds, target)
        check_group(group, preds)
        if list_id is not None:
            check_group(list_id, preds, "list_id")
        return cls(preds, click.to(torch.uint8), group.long(), None if list_id is None else list_id.long())

    def by_chance(self, metric: str) -> float:
        """The value of a ranking metric that a random order of the rows has on average: ties count by expectation."""
        return self._replace(preds=torch.full_like(self.preds, 0.5)).measure()[metric]

    def measure(self) -> dict[str, float]:
        """``auc``, ``gauc``, ``gauc_users_skipped``, ``pr_auc``, ``log_loss`` and ``calibration``.

        Rows with lists also have what :func:`~clickflow.metrics.lists.list_metrics` gives.

        A metric that the rows cannot define is NaN, with a :class:`~clickflow.metrics.ranking.MetricUndefinedWarning`.
        """
        by_user = gauc(self.preds, self.target, self.group)
        return {
            "auc": auc(self.preds, self.target),
            "gauc": by_user.value,
            "gauc_users_skipped": float(by_user.users_skipped),
            "pr_auc": pr_auc(self.preds, self.target),
            "log_loss": log_loss(self.preds, self.target),
            "calibration": calibration(self.preds, self.target),
            **({} if self.list_id is None else list_metrics(self.preds, self.target, self.list_id)),
        }
