"""Promotion: find, check, evaluate against the champion, register, decide.

Decision: whatever can fail comes before the registry is written. A promotion that ends with an error leaves no version and no alias, and
one that was killed while it evaluated leaves nothing to clean up. What remains is a few writes that any later command finishes
(:mod:`clickflow.promotion.decisions`).
"""

import contextlib
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from clickflow.errors import PromotionError
from clickflow.promotion.candidate import Candidate, choose
from clickflow.promotion.checks import check_calls, check_model
from clickflow.promotion.config import PromoteConfig
from clickflow.promotion.decisions import (
    PROMOTED,
    REFUSED,
    Decision,
    finish_pending_move,
    is_rolled_back,
    move,
    moves_of,
    next_number,
    refuse,
)
from clickflow.promotion.evidence import Evidence, description, details, model_card, version_tags
from clickflow.promotion.gate import Verdict, gate_verdict
from clickflow.promotion.registry import CHALLENGER, CHAMPION, Registry, Version
from clickflow.runs.config import EvaluateConfig
from clickflow.runs.evaluate import FINGERPRINT_TAG, Evaluation, evaluate, read_config
from clickflow.runs.train import Progress
from clickflow.tracking.lineage import now, who
from clickflow.tracking.run import Run
from clickflow.tracking.search import read_run
from clickflow.tracking.store import open_store

ALREADY = "already champion"
MODEL_CARD = "model_card.md"


@dataclass(frozen=True)
class Outcome:
    """How a promotion ended.

    Attributes:
        kind: ``promoted``, ``not better`` or ``already champion``.
        candidate: the run that was decided about.
        version: its version; None where it was a dry run.
        champion: the champion it was held against; None where there was none.
        verdict: of the gate; None without a champion, or where the candidate is the champion.
        url: of the version's page.
        evaluation: of the candidate; None where it is the champion already.
    """

    kind: str
    candidate: Candidate
    version: int | None
    champion: int | None
    verdict: Verdict | None
    url: str | None
    evaluation: Evaluation | None = None


def promote(config: PromoteConfig, progress: Progress = lambda stage: None) -> Outcome:
    """Promote the chosen run if it passes its checks and the gate.

    Raises:
        PromotionError: no run can be promoted, or the chosen one may not be; the registry is as it was.
        TrackingError: the store or the model's files; the registry is as it was, or the same command finishes what it began.
        DataError: the data set is not what was trained on any more.
    """
    registry = Registry(open_store(config.tracking, config.home), config.name)
    if not config.dry_run:
        finish_pending_move(registry)
    candidate = _choose(registry, config, progress)
    if _is_champion(candidate, champion_of(registry)):
        return _already(registry, candidate)
    progress(f"checking the model of run {candidate.run.run_id[:12]}")
    check_model(registry.store, candidate, config.home)
    evaluation = None
    while True:
        champion = champion_of(registry)
        if _is_champion(candidate, champion):  # another process promoted the same
            return _already(registry, candidate)
        if champion is not None:
            _check_against(registry, candidate, champion)
        if evaluation is None:
            progress("evaluating it on the test split")
            evaluation = _evaluate(config, candidate.uri)
        evidence = _collect_evidence(config, candidate, evaluation, champion, progress)
        outcome = _decide(registry, config, evidence)
        if outcome is not None:
            return outcome
        progress("the champion changed meanwhile; comparing with the new one")


def champion_of(registry: Registry) -> Version | None:
    """The version with the alias ``champion``."""
    number = registry.alias(CHAMPION)
    return next((version for version in registry.versions() if version.number == number), None)


def _choose(registry: Registry, config: PromoteConfig, progress: Progress) -> Candidate:
    versions = registry.versions()
    moves = moves_of(versions)
    taken_back = {version.run_id: version.number for version in versions if is_rolled_back(moves, version.number)}
    champion = champion_of(registry)
    return choose(registry.store, config, champion.run_id or None if champion else None, taken_back, progress)


def _is_champion(candidate: Candidate, champion: Version | None) -> bool:
    return champion is not None and champion.run_id == candidate.run.run_id


def _already(registry: Registry, candidate: Candidate) -> Outcome:
    champion = champion_of(registry)
    number = champion.number if champion else None
    return Outcome(ALREADY, candidate, number, number, None, registry.url(number) if number else None)


def _check_against(registry: Registry, candidate: Candidate, champion: Version) -> None:
    """Whether the two can be compared, and the one's callers can call the other.

    Raises:
        PromotionError: they cannot.
    """
    uri = f"models:/{registry.name}/{champion.number}"
    if not champion.run_id:
        raise PromotionError(
            f"champion {uri}: was registered without its run, so nothing can be compared with it; set name=NAME to register another model."
        )
    ours, theirs = (run.tags.get(FINGERPRINT_TAG, "unknown") for run in (candidate.run, read_run(registry.store, champion.run_id)))
    if ours != theirs:
        raise PromotionError(
            f"run_id = {candidate.run.run_id}: was trained on data {ours[:12]}, the champion {uri} on {theirs[:12]}; only models of "
            "the same data can be compared; train on the champion's data, or set name=NAME to register a model of the new data beside it."
        )
    check_calls(registry.store, candidate.uri, uri)


def _evaluate(config: PromoteConfig, uri: str) -> Evaluation:
    return evaluate(EvaluateConfig(model=uri, home=config.home, tracking=config.tracking))


def _collect_evidence(
    config: PromoteConfig, candidate: Candidate, evaluation: Evaluation, champion: Version | None, progress: Progress
) -> Evidence:
    champion_evaluation = verdict = None
    if champion is not None:
        progress(f"evaluating the champion, version {champion.number}, on the same rows")
        champion_evaluation = _evaluate(config, f"models:/{config.name}/{champion.number}")
        rows, champion_rows = evaluation.scored.rows, champion_evaluation.scored.rows
        metric = config.metric.removeprefix("val/")
        verdict = gate_verdict(rows, champion_rows, metric, min_effect=config.min_effect, alpha=config.alpha)
    return Evidence(candidate, evaluation, champion, champion_evaluation, verdict, now(), who())


def _decide(registry: Registry, config: PromoteConfig, evidence: Evidence) -> Outcome | None:
    """Register and decide; None where the champion is another one by now."""
    kind = PROMOTED if evidence.is_passed else REFUSED
    candidate, champion = evidence.candidate, evidence.champion.number if evidence.champion else None
    if config.dry_run:
        return Outcome(kind, candidate, None, champion, evidence.verdict, None, evidence.evaluation)
    number = next_number(registry.versions())  # before the champion is looked at: a move in between makes the number one that is taken
    if registry.alias(CHAMPION) != champion:
        return None
    version = registry.register(candidate.run.run_id, candidate.model_id).number
    registry.set_alias(CHALLENGER, version)
    _record(registry, config, evidence, version)
    decision = Decision(kind, version, champion, champion, evidence.at, evidence.by, details=details(evidence, config))
    if kind == REFUSED:
        refuse(registry, decision)
    elif not move(registry, replace(decision, successor=version, number=number)):
        return None
    return Outcome(kind, candidate, version, champion, evidence.verdict, registry.url(version), evidence.evaluation)


def _record(registry: Registry, config: PromoteConfig, evidence: Evidence, version: int) -> None:
    """Put the evidence on the version and, as the model card, on the run: what the gate found, and not yet what became of it."""
    registry.set_tags(version, version_tags(evidence, config))
    registry.describe(version, description(evidence, config))
    with contextlib.closing(Run(registry.store, evidence.candidate.run.run_id)) as run, tempfile.TemporaryDirectory() as scratch:
        run_config = read_config(run, Path(scratch)).model_dump(mode="json")
        run.log_text(model_card(evidence, config, run_config, f"{registry.name}, version {version}"), MODEL_CARD)
