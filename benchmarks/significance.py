"""What the paired tests cost: DeLong and the bootstrap over users on a million rows, and against their definitions.

    python benchmarks/significance.py

The definitions cannot be run at that size. DeLong's compares each click with each non-click: it runs on fewer rows, its cost per pair is
fixed, and the pairs of a million rows give the extrapolated figure. The bootstrap's scores the resampled rows again: it runs few replicates
on all rows, each of the same cost. Neither loops over pairs or rows in Python, so the ratios are those of the algorithms.
"""

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from clickflow.metrics.ranking import gauc
from clickflow.metrics.significance import bootstrap_gauc, delong

ROWS, USERS, REPLICATES = 1_000_000, 100_000, 2_000
FEWER_ROWS, FEWER_REPLICATES = 30_000, 5

Log = tuple[Tensor, Tensor, Tensor, Tensor]


def main() -> None:
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; seconds are the least of the repeats")
    for seeds in (1, 3):
        log = click_log(ROWS, USERS, seeds)
        print(f"\n{ROWS:,} rows, {USERS:,} users, {seeds} seed(s) each")
        fast_delong, result = timed(lambda log=log: delong(*log[:3]), repeats=3)
        print(f"  {'delong':<58}{fast_delong:>10.3f} s   {shown(result)}")
        fast_bootstrap, result = timed(lambda log=log: bootstrap_gauc(*log, num_replicates=REPLICATES), repeats=3)
        print(f"  {f'bootstrap_gauc, {REPLICATES:,} replicates':<58}{fast_bootstrap:>10.3f} s   {shown(result)}")
        slow = slow_delong(seeds) * pairs(log[2])
        print(f"  {f'DeLong by all pairs, from {FEWER_ROWS:,} rows':<58}{slow:>10.0f} s   {slow / fast_delong:,.0f} times, extrapolated")
        rescored, _ = timed(lambda log=log: replicates_by_scoring(*log), repeats=1)
        slow = rescored * REPLICATES / FEWER_REPLICATES
        name = f"bootstrap scoring again, from {FEWER_REPLICATES} replicates"
        print(f"  {name:<58}{slow:>10.0f} s   {slow / fast_bootstrap:,.0f} times, extrapolated")


def slow_delong(seeds: int) -> float:
    """Seconds for each pair of a click and a non-click; the result must be that of ``delong``, at the same size."""
    log = click_log(FEWER_ROWS, USERS, seeds)
    fast, result = timed(lambda: delong(*log[:3]), repeats=3)
    slow, (difference, error) = timed(lambda: delong_by_pairs(*log[:3]), repeats=1)
    assert math.isclose(difference, result.difference, rel_tol=1e-9)
    assert math.isclose(2 * 1.959963984540054 * error, result.high - result.low, rel_tol=1e-9)
    print(f"  {f'DeLong on {FEWER_ROWS:,} rows':<58}{fast:>10.3f} s   by all pairs {slow:.2f} s, {slow / fast:,.0f} times, the same result")
    return slow / pairs(log[2])


def click_log(num_rows: int, num_users: int, seeds: int) -> Log:
    """A model a little better than its base; they share half of the noise."""
    generator = torch.Generator().manual_seed(0)
    target = (torch.rand(num_rows, generator=generator) < 0.3).long()
    shared = torch.randn(num_rows, generator=generator)
    preds, base_preds = ((signal * target + shared + torch.randn(seeds, num_rows, generator=generator)).sigmoid() for signal in (1.01, 1.0))
    return preds, base_preds, target, torch.randint(num_users, (num_rows,), generator=generator)


def pairs(target: Tensor) -> int:
    clicks = int(target.sum())
    return clicks * (len(target) - clicks)


def delong_by_pairs(preds: Tensor, base_preds: Tensor, target: Tensor) -> tuple[float, float]:
    """Difference and standard error; a click at a time against all non-clicks."""
    clicks, non_clicks = target.nonzero().flatten(), (target == 0).nonzero().flatten()
    of_clicks, of_non_clicks = torch.zeros(len(clicks), dtype=torch.float64), torch.zeros(len(non_clicks), dtype=torch.float64)
    for sign, columns in ((1, preds), (-1, base_preds)):
        for column in columns:
            others = column[non_clicks]
            for place, score in enumerate(column[clicks]):
                wins = ((score > others).double() + 0.5 * (score == others)) * (sign / len(columns))
                of_clicks[place] += wins.mean()
                of_non_clicks += wins / len(clicks)
    variance = of_clicks.var() / len(clicks) + of_non_clicks.var() / len(non_clicks)
    return float(of_clicks.mean()), math.sqrt(variance)


def replicates_by_scoring(preds: Tensor, base_preds: Tensor, target: Tensor, group: Tensor) -> list[float]:
    """Differences of resamples whose rows are copied, each drawn user a new one, and scored by ``gauc``."""
    order = group.argsort()
    lengths = group.bincount(minlength=USERS)
    starts = lengths.cumsum(0) - lengths
    generator = torch.Generator().manual_seed(0)
    differences = []
    for _ in range(FEWER_REPLICATES):
        drawn = torch.randint(USERS, (USERS,), generator=generator)
        user = torch.arange(USERS).repeat_interleave(lengths[drawn])
        first = lengths[drawn].cumsum(0) - lengths[drawn]
        rows = order[starts[drawn][user] + torch.arange(len(user)) - first[user]]
        model, base = ([gauc(column[rows], target[rows], user).value for column in columns] for columns in (preds, base_preds))
        differences.append(sum(model) / len(model) - sum(base) / len(base))
    return differences


def timed(measure: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """The least of the repeats' seconds, and the value."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        value = measure()
        seconds.append(time.perf_counter() - start)
    return min(seconds), value


def shown(result: tuple[float, ...]) -> str:
    return "{:.6f} [{:.6f}, {:.6f}], p {:.2g}".format(*result)


if __name__ == "__main__":
    main()
