"""Time of the metrics: GAUC against a loop over users and against torchmetrics, lists too, and one validation pass of a million rows.

    python benchmarks/metrics.py

Ratios are taken within one run on the same rows, so that they hold on other machines. torchmetrics' ``RetrievalAUROC`` averages users
equally and counts a user without a non-click as 0, so its value differs; the loop with scikit-learn must return the value of ``gauc``.
"""

import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torchmetrics.retrieval import RetrievalAUROC, RetrievalMRR, RetrievalNormalizedDCG

from clickflow.metrics.click_metrics import ClickMetrics
from clickflow.metrics.curves import pr_curve, roc_curve
from clickflow.metrics.lists import list_metrics
from clickflow.metrics.ranking import gauc

Columns = tuple[Tensor, Tensor, Tensor]
ROWS, USERS = 1_000_000, 100_000
FEWER_ROWS, FEWER_USERS = 200_000, 20_000


def main() -> None:
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    columns = click_log(FEWER_ROWS, FEWER_USERS)
    print(f"\nGAUC of {FEWER_ROWS:,} rows, {FEWER_USERS:,} users")
    ours, our_seconds = timed(lambda: gauc(*columns).value, repeats=5)
    print(f"  {'clickflow gauc':<38}{our_seconds:>9.3f} s                value {ours:.6f}")
    for name, measure in {"loop over users, scikit-learn": loop_over_users, "torchmetrics RetrievalAUROC": retrieval_auroc}.items():
        value, seconds = timed(lambda measure=measure: measure(*columns), repeats=1)
        print(f"  {name:<38}{seconds:>9.3f} s  {seconds / our_seconds:>7.0f} times   value {value:.6f}")

    print(f"\nwithin lists: {FEWER_ROWS:,} rows, {FEWER_USERS:,} lists")
    found, our_seconds = timed(lambda: list_metrics(*columns), repeats=5)
    print(f"  {'clickflow list_metrics, all four':<38}{our_seconds:>9.3f} s                mrr {found['mrr']:.6f}")
    value, seconds = timed(lambda: retrieval(*columns), repeats=1)
    print(f"  {'torchmetrics, three of them':<38}{seconds:>9.3f} s  {seconds / our_seconds:>7.0f} times   mrr {value:.6f}")

    columns = click_log(ROWS, USERS)
    print(f"\n{ROWS:,} rows, {USERS:,} users")
    metrics = ClickMetrics()
    for name, measure in {
        "gauc": lambda: gauc(*columns),
        "list_metrics": lambda: list_metrics(*columns),
        "ClickMetrics, updates of 1,024 rows": lambda: update(metrics, columns),
        "ClickMetrics, compute": metrics.compute,
        "roc_curve": lambda: roc_curve(*columns[:2]),
        "pr_curve": lambda: pr_curve(*columns[:2]),
    }.items():
        print(f"  {name:<38}{timed(measure, repeats=1)[1]:>9.3f} s")


def click_log(num_rows: int, num_users: int) -> Columns:
    generator = torch.Generator().manual_seed(0)
    target = (torch.rand(num_rows, generator=generator) < 0.3).long()
    preds = torch.sigmoid(torch.randn(num_rows, generator=generator) + target)
    return preds, target, torch.randint(num_users, (num_rows,), generator=generator)


def timed(measure: Callable[[], Any], repeats: int) -> tuple[Any, float]:
    """The value, and the smallest number of seconds of the repeats."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        value = measure()
        seconds.append(time.perf_counter() - start)
    return value, min(seconds)


def loop_over_users(preds: Tensor, target: Tensor, group: Tensor) -> float:
    order = group.argsort()
    lengths = group.bincount().tolist()
    weighted = weight = 0.0
    for user_preds, user_target in zip(preds[order].split(lengths), target[order].split(lengths), strict=True):
        if 0 < user_target.sum() < len(user_target):
            weighted += len(user_target) * roc_auc_score(user_target.numpy(), user_preds.numpy())
            weight += len(user_target)
    return weighted / weight


def retrieval_auroc(preds: Tensor, target: Tensor, group: Tensor) -> float:
    metric = RetrievalAUROC(empty_target_action="skip")
    metric.update(preds, target, indexes=group)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one warning per user without a non-click
        return float(metric.compute())


def retrieval(preds: Tensor, target: Tensor, list_id: Tensor) -> float:
    """MRR, NDCG@5 and NDCG@10 of the lists with both classes, as ``list_metrics`` counts them; returns the MRR."""
    rows, clicks = list_id.bincount(), list_id[target == 1].bincount(minlength=int(list_id.max()) + 1)
    kept = ((clicks > 0) & (clicks < rows))[list_id]
    values = []
    for metric in (RetrievalMRR(), RetrievalNormalizedDCG(top_k=5), RetrievalNormalizedDCG(top_k=10)):
        metric.update(preds[kept], target[kept], indexes=list_id[kept])
        values.append(float(metric.compute()))
    return values[0]


def update(metrics: ClickMetrics, columns: Columns) -> None:
    for batch in zip(*(column.split(1024) for column in columns), strict=True):
        metrics.update(*batch)


if __name__ == "__main__":
    main()
