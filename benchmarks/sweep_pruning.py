"""Epochs saved by pruning, and its effect on the best value.

    python -m benchmarks.sweep_pruning [--seeds 5] [--trials 25] [--epochs 9] [--sampler tpe] [--pruners none median]

For each seed of the sampler the same sweep runs without pruning and with each pruner, by two workers of one thread each.
``trainer.patience`` is so large that no trial stops by itself, except in the two lines of early stopping. The random sampler tries the same
values under every pruner, so the lines of a seed differ by the pruner alone; tpe learns from the trials that it sees. Epochs are the
validations of all trials in the study. The best value is that of the best complete trial at its best epoch. Differences to no pruning are
paired by seed: mean and 95 % interval of Student's t over the seeds.
"""

import argparse
import math
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.sweep_command import Finished, prepare, sweep
from optuna.trial import TrialState
from scipy.stats import t as student

DATA = ["data=synthetic", "data.num_users=3000", "data.num_items=1000", "data.num_impressions=24000"]
SPACE = [
    "sweep=default",
    "model=din",
    "optimizer.learning_rate=tag(log, interval(1e-4, 3e-2))",
    "model.embedding_dim=choice(4, 8, 16)",
    "model.hidden_units=choice([40, 20], [80, 40])",
    "model.dropout=interval(0.0, 0.5)",
]
NONE = "none"
ARMS = {  # name -> pruner, and whether training stops early by itself
    NONE: ("none", False),
    "median": ("median", False),
    "hyperband": ("hyperband", False),
    "patience": ("patience", False),
    "none, early stopping": ("none", True),
    "median, early stopping": ("median", True),
}


def run(home: Path, arm: str, seed: int, settings: Sequence[str], epochs: int, sampler: str) -> Finished:
    """Run one study."""
    pruner, stops_early = ARMS[arm]
    patience = 2 if stops_early else epochs
    ways = [f"sweep.pruner={pruner}", f"trainer.patience={patience}", f"sweep.sampler={{name: {sampler}, seed: {seed}}}"]
    return sweep(home, f"{arm.replace(', ', '-').replace(' ', '-')}-{seed}", [*settings, *ways])


def interval(values: Sequence[float]) -> str:
    """Mean and 95 % interval as text."""
    mean = statistics.mean(values)
    if len(values) < 2:
        return f"{mean:+.4f}"
    half = float(student.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean:+.4f} [{mean - half:+.4f}, {mean + half:+.4f}]"


def line(arm: str, done: Sequence[Finished], plain: Sequence[Finished]) -> str:
    """A row of the table."""
    saved = [1 - with_it.num_epochs / without.num_epochs for with_it, without in zip(done, plain, strict=True)]
    differences = [with_it.best - without.best for with_it, without in zip(done, plain, strict=True)]
    best = [one.best for one in done]
    deviation = statistics.stdev(best) if len(best) > 1 else 0.0
    pruned = statistics.mean(sum(trial.state == TrialState.PRUNED for trial in one.trials) for one in done)
    epochs = statistics.mean(one.num_epochs for one in done)
    seconds = statistics.mean(one.trial_seconds for one in done)
    return (
        f"| {arm} | {pruned:.1f} | {epochs:.0f} | {statistics.mean(saved):.0%} ({min(saved):.0%} to {max(saved):.0%}) | {seconds:.0f} s "
        f"| {statistics.mean(best):.4f} ± {deviation:.4f} | {interval(differences)} |"
    )


def main() -> None:
    """Run all studies, seed by seed, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=25)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--sampler", choices=["random", "tpe"], default="random")
    parser.add_argument("--pruners", nargs="+", choices=list(ARMS), default=list(ARMS), help="must include none, the reference")
    given = parser.parse_args()
    settings = [*DATA, *SPACE, f"trainer.max_epochs={given.epochs}", f"sweep.num_trials={given.trials}"]
    settings += ["sweep.num_workers=2", "sweep.threads_per_worker=1"]
    done: dict[str, list[Finished]] = {arm: [] for arm in given.pruners}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        prepare(home, DATA)
        for seed in range(given.seeds):
            for arm, studies in done.items():
                studies.append(run(home, arm, seed, settings, given.epochs, given.sampler))
                one = studies[-1]
                print(f"seed {seed}, {arm}: {one.num_epochs} epochs, {one.trial_seconds:.0f} s, best {one.best:.4f}", flush=True)
    print(f"\n{given.sampler} sampler, {given.trials} trials of at most {given.epochs} epochs, {given.seeds} studies each; means\n")
    print("| pruner | trials pruned | epochs | saved | first start to last end | best val/gauc | difference to none |")
    print("|---|---|---|---|---|---|---|")
    for arm, studies in done.items():
        print(line(arm, studies, done[NONE]))


if __name__ == "__main__":
    main()
