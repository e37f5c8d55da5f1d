"""All click metrics of one validation or test pass, collected over batches.

A thin torchmetrics shell: it keeps the rows, batch by batch and from all ranks; :class:`~clickflow.metrics.scored_rows.ScoredRows` measures
them.

Decision: it keeps every row (13 bytes each) instead of binned counts. All metrics of a million rows take 0.6 s on two cores,
GAUC needs the rows anyway, and the same rows then serve the curves and the predictions file (:meth:`ClickMetrics.rows`).
"""

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from clickflow.metrics.scored_rows import ScoredRows


class ClickMetrics(Metric):
    """``auc``, ``gauc``, ``gauc_users_skipped``, ``pr_auc``, ``log_loss`` and ``calibration`` over all rows seen since the last reset.

    Rows with lists also have the metrics within lists.

    >>> metrics = ClickMetrics()
    >>> metrics.update(preds=torch.tensor([0.9, 0.2]), target=torch.tensor([1, 0]), group=torch.tensor([7, 7]))
    >>> metrics.update(preds=torch.tensor([0.6]), target=torch.tensor([0]), group=torch.tensor([8]))
    >>> {name: round(value, 4) for name, value in metrics.compute().items()}
    {'auc': 1.0, 'gauc': 1.0, 'gauc_users_skipped': 1.0, 'pr_auc': 1.0, 'log_loss': 0.4149, 'calibration': 1.7}
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    preds: list[Tensor]
    target: list[Tensor]
    group: list[Tensor]
    list_id: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        """Take torchmetrics' own keywords, such as ``compute_on_cpu``, which moves the rows off the GPU batch by batch."""
        super().__init__(**kwargs)
        for state in ScoredRows._fields:
            self.add_state(state, default=[], dist_reduce_fx="cat")

    def update(self, preds: Tensor, target: Tensor, group: Tensor, list_id: Tensor | None = None) -> None:
        """Add the rows of a batch, as :meth:`~clickflow.metrics.scored_rows.ScoredRows.checked` takes them."""
        rows = ScoredRows.checked(preds, target, group, list_id)
        self.preds.append(rows.preds)
        self.target.append(rows.target)
        self.group.append(rows.group)
        if rows.list_id is not None:
            self.list_id.append(rows.list_id)

    def compute(self) -> dict[str, float]:
        """The metrics by name, as :meth:`~clickflow.metrics.scored_rows.ScoredRows.measure` gives them.

        Before the first update all are NaN (``gauc_users_skipped`` 0) without a warning: nothing has gone wrong yet.
        """
        if not len(self.preds):
            return dict.fromkeys(("auc", "gauc", "pr_auc", "log_loss", "calibration"), math.nan) | {"gauc_users_skipped": 0.0}
        return self.rows().measure()

    def rows(self) -> ScoredRows:
        """Rows of this process so far; after :meth:`compute` they come without another copy. Do not write into them."""
        return ScoredRows(
            preds=self._concatenated("preds", torch.float32),
            target=self._concatenated("target", torch.uint8),
            group=self._concatenated("group", torch.int64),
            list_id=self._concatenated("list_id", torch.int64) if len(self.list_id) else None,
        )

    def _concatenated(self, state: str, dtype: torch.dtype) -> Tensor:
        parts = getattr(self, state)
        if isinstance(parts, Tensor):  # inside compute, where torchmetrics has gathered the processes' rows
            return parts
        if not parts:
            return torch.empty(0, dtype=dtype, device=self.device)
        if len(parts) > 1:
            parts = [torch.cat(parts)]
            setattr(self, state, parts)  # frees the batches; the next call finds one part
        whole: Tensor = parts[0]
        return whole

    def _wrap_compute(self, compute: Callable[..., Any]) -> Callable[..., Any]:
        """Silence torchmetrics' warning about a compute before the first update, which an epoch without batches would cause."""
        wrapped = super()._wrap_compute(compute)

        @functools.wraps(compute)
        def compute_quietly(*args: Any, **kwargs: Any) -> Any:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "The ``compute`` method of metric", UserWarning)
                return wrapped(*args, **kwargs)

        return compute_quietly
