"""Error rates of the gate: how often it promotes a model that is not better, and one that is better by 0.01.

    python benchmarks/gate.py          # 200 trials of each case
    python benchmarks/gate.py 50       # fewer

The rows are those of the synthetic log's test split, with its true click probabilities. A trial draws users with replacement, as many as
make about 100,000 rows, and draws their clicks and both models' errors anew: a model's logit is the true one, plus noise that both models
share, plus noise of its own, half of it the same for all rows of a user. Without a true difference the own noise of both models has the
same size; with one, the challenger's noise is smaller, by as much as makes its metric 0.01 higher in expectation. The gate is that of
``promote.py``.
"""

import math
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from clickflow.data.prepare import prepare
from clickflow.data.protocols import ImpressionsConfig
from clickflow.data.sources.synthetic import SyntheticConfig
from clickflow.metrics.ranking import auc, gauc
from clickflow.metrics.scored_rows import ScoredRows
from clickflow.promotion.gate import gate_verdict

TRIALS, ROWS, DIFFERENCE = 200, 100_000, 0.01
USERS, IMPRESSIONS = 100_000, 2_000_000
SHARED_NOISE, OWN_NOISE = 0.5, 1.0  # standard deviations, in logits


class Log:
    """The test split of a synthetic log: its users and the true logits of their impressions."""

    def __init__(self) -> None:
        config = SyntheticConfig(name="gate", num_users=USERS, num_items=10_000, num_categories=100, num_impressions=IMPRESSIONS)
        with tempfile.TemporaryDirectory() as home:
            rows = prepare(config, ImpressionsConfig(), Path(home)).split("test").rows
            order = np.argsort(rows["group"], kind="stable")
            probability = np.array(rows["true_probability"], dtype=np.float64)[order]
            _, self._starts, self._lengths = np.unique(rows["group"][order], return_index=True, return_counts=True)
        self._logit = np.log(probability / (1 - probability))
        self.description = f"{len(self._logit):,} rows of {len(self._lengths):,} users to draw from"

    def draw(self, rng: np.random.Generator, num_rows: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """True logits and users of about ``num_rows`` rows; a user that is drawn twice counts as two users."""
        users = rng.integers(0, len(self._lengths), round(num_rows / self._lengths.mean()))
        lengths = self._lengths[users]
        group = np.repeat(np.arange(len(users)), lengths)
        first = np.cumsum(lengths) - lengths
        return self._logit[self._starts[users][group] + np.arange(len(group)) - first[group]], group


def models(log: Log, rng: np.random.Generator, num_rows: int, own_noise: tuple[float, ...]) -> Iterator[ScoredRows]:
    """Predictions of several models for the same rows, one model per size of noise."""
    logit, group = log.draw(rng, num_rows)
    target = torch.from_numpy((rng.random(len(logit)) < 1 / (1 + np.exp(-logit))).astype(np.int64))
    shared = SHARED_NOISE * rng.standard_normal(len(logit))
    for size in own_noise:
        own = math.sqrt(0.5) * (rng.standard_normal(group[-1] + 1)[group] + rng.standard_normal(len(logit)))
        yield ScoredRows(torch.from_numpy(logit + shared + size * own).float().sigmoid(), target, torch.from_numpy(group))


def expected(log: Log, metric: str, own_noise: float) -> float:
    """Value of a metric over many rows, with the same random numbers for any size of noise."""
    [rows] = models(log, np.random.default_rng(1), IMPRESSIONS, (own_noise,))
    return auc(rows.preds, rows.target) if metric == "auc" else gauc(rows.preds, rows.target, rows.group).value


def noise_of_a_better_model(log: Log, metric: str) -> float:
    """Size of noise for which the metric is higher by ``DIFFERENCE``, by bisection."""
    wanted = expected(log, metric, OWN_NOISE) + DIFFERENCE
    low, high = 0.0, OWN_NOISE
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if expected(log, metric, middle) > wanted else (low, middle)
    return (low + high) / 2


def main() -> None:
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else TRIALS
    log = Log()
    print(f"{log.description}; {trials} trials of about {ROWS:,} rows; shared noise {SHARED_NOISE}, own noise {OWN_NOISE}")
    print(f"{'metric':8}{'true difference':>17}{'own noise':>11}{'mean difference':>17}{'mean width':>12}{'promoted':>10}{'s/gate':>8}")
    for metric in ("auc", "gauc"):
        for difference, noise in ((0.0, OWN_NOISE), (DIFFERENCE, noise_of_a_better_model(log, metric))):
            rng, promoted, found, seconds = np.random.default_rng(0), 0, [], 0.0
            for _ in range(trials):
                challenger, champion = models(log, rng, ROWS, (noise, OWN_NOISE))
                start = time.perf_counter()
                verdict = gate_verdict(challenger, champion, metric, min_effect=0.0, alpha=0.05)
                seconds += time.perf_counter() - start
                promoted += verdict.is_passed
                found.append(verdict.found)
            mean, width = (sum(values) / trials for values in ((f.difference for f in found), (f.high - f.low for f in found)))
            share = f"{promoted / trials:.1%}"
            print(f"{metric:8}{difference:>17.3f}{noise:>11.3f}{mean:>17.5f}{width:>12.4f}{share:>10}{seconds / trials:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
