"""Time of tests and intervals on a million rows against that of their definitions, and how often the intervals hold.

    python benchmarks/significance.py            # seconds
    python benchmarks/significance.py coverage   # how often intervals of simulated logs cover the truth

The definitions cannot be run at that size. That of DeLong's test compares each click with each non-click: it runs on fewer rows, its cost
per pair is fixed, and the number of pairs in a million rows gives the extrapolated figure. That of the bootstrap scores the resampled rows
again: it runs a few replicates, each of the same cost, on all rows. Neither loops over pairs or rows in Python, so the ratios are those of
the algorithms. Slices are compared with filtering the rows for each value and measuring them.
"""

import math
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from clickflow.metrics.calibration import calibration, log_loss
from clickflow.metrics.intervals import intervals
from clickflow.metrics.ranking import MetricUndefinedWarning, auc, gauc, pr_auc
from clickflow.metrics.significance import bootstrap_gauc, delong
from clickflow.metrics.strata import metrics_by_stratum

ROWS, USERS, REPLICATES = 1_000_000, 100_000, 2_000
FEWER_ROWS, FEWER_REPLICATES = 30_000, 5
SIMULATIONS = 1_000

Log = tuple[Tensor, Tensor, Tensor, Tensor]


def main() -> None:
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; seconds are the minimum of the repeats")
    for seeds in (1, 3):
        log = click_log(ROWS, USERS, seeds)
        print(f"\n{ROWS:,} rows, {USERS:,} users, {seeds} seed(s) each")
        fast_delong, result = timed(lambda log=log: delong(*of_rows(log)), repeats=3)
        print(f"  {'delong':<58}{fast_delong:>10.3f} s   {shown(result)}")
        seconds, result = timed(lambda log=log: delong(*log), repeats=3)
        print(f"  {'delong, clustered by user':<58}{seconds:>10.3f} s   {shown(result)}")
        fast_bootstrap, result = timed(lambda log=log: bootstrap_gauc(*log, num_replicates=REPLICATES), repeats=3)
        print(f"  {f'bootstrap_gauc, {REPLICATES:,} replicates':<58}{fast_bootstrap:>10.3f} s   {shown(result)}")
        slow = slow_delong(seeds) * pairs(log[2])
        print(f"  {f'DeLong by all pairs, from {FEWER_ROWS:,} rows':<58}{slow:>10.0f} s   {slow / fast_delong:,.0f} times, extrapolated")
        rescored, _ = timed(lambda log=log: replicates_by_scoring(*log), repeats=1)
        slow = rescored * REPLICATES / FEWER_REPLICATES
        name = f"bootstrap scoring again, from {FEWER_REPLICATES} replicates"
        print(f"  {name:<58}{slow:>10.0f} s   {slow / fast_bootstrap:,.0f} times, extrapolated")

    print()
    preds, _, target, group = click_log(ROWS, USERS, 1)
    fast, _ = timed(lambda: intervals(preds[0], target, group), repeats=3)
    print(f"  {'intervals of all five metrics':<58}{fast:>10.3f} s")
    slow = timed(lambda: measured(*resampled(preds[0], target, group)), repeats=1)[0] * REPLICATES
    print(f"  {'their bootstrap over users, from 1 replicate':<58}{slow:>10.0f} s   {slow / fast:,.0f} times, extrapolated")
    for values in (20, 1_000):
        stratum = torch.randint(values, (ROWS,), generator=torch.Generator().manual_seed(1))
        fast, _ = timed(lambda stratum=stratum: metrics_by_stratum(preds[0], target, group, stratum), repeats=3)
        slow, _ = timed(lambda stratum=stratum, values=values: by_filtering(preds[0], target, group, stratum, values), repeats=1)
        print(f"  {f'slices of {values:,} values':<58}{fast:>10.3f} s   by filtering, no intervals {slow:.1f} s, {slow / fast:,.1f} times")


def coverage() -> None:
    """Print the coverage of intervals for two models that differ by chance alone, and for the metrics of one model.

    Every user has an own click rate and an own signal.
    """
    for users, rows in ((50, 20), (500, 20)):
        logs = [user_log(users, rows, random) for random in range(SIMULATIONS)]
        held = {"DeLong, rows independent": [], "DeLong, clustered by user": [], "bootstrap_gauc": []}
        for log in logs:
            results = delong(*of_rows(log)), delong(*log), bootstrap_gauc(*log, num_replicates=400)
            for name, result in zip(held, results, strict=True):
                held[name].append(result.low <= 0 <= result.high)
        truth = measured(*one_model(user_log(100_000, rows, -1)))
        found = [intervals(*one_model(log)) for log in logs]
        held |= {name: [of[name].low <= value <= of[name].high for of in found] for name, value in truth.items()}
        print(f"{users} users of {rows} rows, {SIMULATIONS:,} logs: share of 95 % intervals that cover the truth")
        for name, hits in held.items():
            print(f"  {name:<30}{100 * sum(hits) / len(hits):>6.1f} %")


def of_rows(log: Log) -> Log:
    """Make each row a user of its own."""
    return *log[:3], torch.arange(len(log[2]))


def one_model(log: Log) -> tuple[Tensor, Tensor, Tensor]:
    return log[0][0], log[2], log[3]


def user_log(users: int, rows: int, random: int) -> Log:
    """Draw two models of one kind whose signals vary from user to user independently."""
    generator = torch.Generator().manual_seed(random + 1)
    group = torch.arange(users * rows) // rows
    often = 0.7 * torch.randn(users, generator=generator)
    target = (torch.rand(len(group), generator=generator) < (often[group] - 0.5).sigmoid()).long()

    def predict() -> Tensor:
        signal = 1 + torch.randn(users, generator=generator)
        return (signal[group] * target + torch.randn(len(group), generator=generator) + often[group] / 2 - 1).sigmoid()[None]

    return predict(), predict(), target, group


def measured(preds: Tensor, target: Tensor, group: Tensor) -> dict[str, float]:
    return {
        "auc": auc(preds, target),
        "gauc": gauc(preds, target, group).value,
        "pr_auc": pr_auc(preds, target),
        "log_loss": log_loss(preds, target),
        "calibration": calibration(preds, target),
    }


def by_filtering(preds: Tensor, target: Tensor, group: Tensor, stratum: Tensor, values: int) -> list[tuple[float, ...]]:
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetricUndefinedWarning)
        for value in range(values):
            rows = stratum == value
            of = preds[rows], target[rows]
            found.append((auc(*of), gauc(*of, group[rows]).value, log_loss(*of), calibration(*of)))
    return found


def slow_delong(seeds: int) -> float:
    """Seconds per pair of a click and a non-click; the result must equal that of ``delong`` at the same size."""
    log = click_log(FEWER_ROWS, USERS, seeds)
    fast, result = timed(lambda: delong(*of_rows(log)), repeats=3)
    slow, (difference, error) = timed(lambda: delong_by_pairs(*log[:3]), repeats=1)
    assert math.isclose(difference, result.difference, rel_tol=1e-9)
    assert math.isclose(2 * 1.959963984540054 * error, result.high - result.low, rel_tol=1e-9)
    print(f"  {f'DeLong on {FEWER_ROWS:,} rows':<58}{fast:>10.3f} s   by all pairs {slow:.2f} s, {slow / fast:,.0f} times, the same result")
    return slow / pairs(log[2])


def click_log(num_rows: int, num_users: int, seeds: int) -> Log:
    """Draw a model slightly better than its base; they share half of the noise."""
    generator = torch.Generator().manual_seed(0)
    target = (torch.rand(num_rows, generator=generator) < 0.3).long()
    shared = torch.randn(num_rows, generator=generator)
    preds, base_preds = ((signal * target + shared + torch.randn(seeds, num_rows, generator=generator)).sigmoid() for signal in (1.01, 1.0))
    return preds, base_preds, target, torch.randint(num_users, (num_rows,), generator=generator)


def pairs(target: Tensor) -> int:
    clicks = int(target.sum())
    return clicks * (len(target) - clicks)


def delong_by_pairs(preds: Tensor, base_preds: Tensor, target: Tensor) -> tuple[float, float]:
    """Difference and standard error, comparing one click at a time with all non-clicks."""
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
    """Differences of the resamples, whose rows are copied and scored by ``gauc``."""
    generator = torch.Generator().manual_seed(0)
    differences = []
    for _ in range(FEWER_REPLICATES):
        rows, user = drawn_rows(group, generator)
        model, base = ([gauc(column[rows], target[rows], user).value for column in columns] for columns in (preds, base_preds))
        differences.append(sum(model) / len(model) - sum(base) / len(base))
    return differences


def resampled(preds: Tensor, target: Tensor, group: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    rows, user = drawn_rows(group, torch.Generator().manual_seed(0))
    return preds[rows], target[rows], user


def drawn_rows(group: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rows of users drawn with replacement; each drawn user counts as a new one."""
    order = group.argsort()
    lengths = group.bincount(minlength=USERS)
    starts = lengths.cumsum(0) - lengths
    drawn = torch.randint(USERS, (USERS,), generator=generator)
    user = torch.arange(USERS).repeat_interleave(lengths[drawn])
    first = lengths[drawn].cumsum(0) - lengths[drawn]
    return order[starts[drawn][user] + torch.arange(len(user)) - first[user]], user


def timed(measure: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """The smallest number of seconds of the repeats, and the value."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        value = measure()
        seconds.append(time.perf_counter() - start)
    return min(seconds), value


def shown(result: tuple[float, ...]) -> str:
    return "{:.6f} [{:.6f}, {:.6f}], p {:.2g}".format(*result)


if __name__ == "__main__":
    coverage() if sys.argv[1:] == ["coverage"] else main()
