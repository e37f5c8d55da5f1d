"""Make the best run the champion of a registered model, if it is better than the champion: ``clickflow promote name=ctr``.

Exit code 0: promoted, or already the champion. 3: not better: a version with the evidence, the
alias `challenger` and the log are all that changed. 2: an error; nothing changed.
"""

if __name__ == "__main__":  # first of all: a wrong config is answered before anything heavy is imported
    from clickflow.cli.main import run

    run("promote")

import sys

from rich.console import Console

from clickflow.cli.next_command import next_command, progress_printer
from clickflow.cli.tables import print_table
from clickflow.errors import EXIT_CODE_NO, PromotionError
from clickflow.metrics.headings import HEADINGS
from clickflow.promotion.config import PromoteConfig
from clickflow.promotion.decisions import REFUSED, Decision, log_of
from clickflow.promotion.promote import ALREADY, Outcome, promote
from clickflow.promotion.registry import Registry
from clickflow.promotion.rollback import roll_back
from clickflow.runs.evaluate import Evaluation
from clickflow.text import counted
from clickflow.tracking.store import open_store


def main(config: PromoteConfig, console: Console) -> None:
    """Promote, roll back or print the log."""
    if config.history:
        _print_history(console, config)
    elif config.rollback:
        _roll_back(console, config)
    else:
        outcome = promote(config, progress_printer(console))
        print_outcome(console, config, outcome)
        if outcome.kind == REFUSED:
            sys.exit(EXIT_CODE_NO)


def print_outcome(console: Console, config: PromoteConfig, outcome: Outcome) -> None:
    """Print the decision and its reasons."""
    run = outcome.challenger
    console.print(
        f"run {run.run.run_id} ({run.run.tags.get('model')}, {config.metric} {run.value:.4f}) of experiment {run.experiment}",
        soft_wrap=True,
    )
    if outcome.evaluation is not None:
        _print_test(console, config, outcome.evaluation)
    name = config.name if outcome.version is None else f"{config.name} version {outcome.version}"
    dry = "dry run: " if config.dry_run else ""
    if outcome.kind == ALREADY:
        console.print(f"[bold]{name} is already the champion[/]; nothing to do")
    elif outcome.verdict is None:
        console.print(f"[bold]{dry}{outcome.kind}[/]: {name} is the first champion; its model passed the checks", soft_wrap=True)
    else:
        than = f"{outcome.verdict.difference} against version {outcome.champion} on the same test rows"
        console.print(f"[bold]{dry}{outcome.kind}[/]: {name}: {than}", soft_wrap=True)
        if outcome.kind == REFUSED:
            console.print(f"not promoted: {outcome.verdict.needed}", soft_wrap=True)
    if outcome.url is not None:
        console.print(outcome.url, soft_wrap=True)
    if outcome.kind != REFUSED and not config.dry_run:
        _print_next(console, config, outcome)


def _print_test(console: Console, config: PromoteConfig, evaluation: Evaluation) -> None:
    """Print its metrics, and how often the test split has been looked at."""
    metric = config.metric.removeprefix("val/")
    low, high = evaluation.intervals[metric]
    value = f"{HEADINGS[metric]} {evaluation.scored.metrics[metric]:.4f}, 95 % interval [{low:.4f}, {high:.4f}]"
    times, runs = evaluation.openings.times, evaluation.openings.runs
    console.print(f"on the test split: {value}; it has been opened {counted(times, 'time')}, by {counted(runs, 'run')}", soft_wrap=True)
    chance = 0.5 if metric.endswith("auc") else evaluation.scored.rows.by_chance(metric)
    if not low > chance:
        console.print("[yellow]beware: these test rows do not show that it ranks better than chance[/]", soft_wrap=True)


def _print_next(console: Console, config: PromoteConfig, outcome: Outcome) -> None:
    console.print(f"serve it:\n  {next_command('serve', config.home, config.tracking, name=config.name)}", soft_wrap=True)
    if outcome.champion not in (None, outcome.version):
        back = next_command("promote", config.home, config.tracking, name=config.name, rollback=True)
        console.print(f"take it back:\n  {back}", soft_wrap=True)


def _roll_back(console: Console, config: PromoteConfig) -> None:
    done = roll_back(config, progress_printer(console))
    dry = "dry run: " if config.dry_run else ""
    console.print(f"[bold]{dry}rolled back[/]: {config.name} version {done.taken_back} -> version {done.champion}, the champion again")
    console.print(done.url, soft_wrap=True)


def _print_history(console: Console, config: PromoteConfig) -> None:
    versions = Registry(open_store(config.tracking, config.home), config.name).versions()
    if not versions:
        raise PromotionError(f"name = {config.name}: no model of this name is registered; promote a run first, or correct the name.")
    rows = [_cells(decision) for decision in log_of(versions)]
    print_table(console, f"decisions about {config.name}", rows, left=list(rows[0]) if rows else [], width=180)


def _cells(decision: Decision) -> dict[str, str]:
    details = decision.details
    moved = "–" if decision.champion == decision.successor else f"{decision.champion or '–'} → {decision.successor}"
    validation = f"{details['metric']} {details['validation']:.4f}" if "validation" in details else "–"
    return {
        "time (UTC)": decision.at[:19].replace("T", " "),
        "version": str(decision.version),
        "decision": decision.kind,
        "champion": moved,
        "run": str(details.get("run_id", "–"))[:12],
        "validation": validation,
        "difference on test": _difference(decision),
        "by": decision.by,
    }


def _difference(decision: Decision) -> str:
    details = decision.details
    if details.get("difference") is None:
        return "–"
    shown = f"{HEADINGS[details['metric'].removeprefix('val/')]} {details['difference']:+.4f}"
    return shown if details.get("low") is None else f"{shown} [{details['low']:+.4f}, {details['high']:+.4f}]"
