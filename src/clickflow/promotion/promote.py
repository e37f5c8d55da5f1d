"""Promotion: find, check, evaluate against the champion, register, decide.

Decision: everything that can fail comes before the registry is written. A promotion that ends with an error leaves no version and no alias,
and one that was killed while it evaluated leaves nothing to clean up. What remains is a few writes, which any later command finishes
(:mod:`clickflow.promotion.decisions`).
"""

import contextlib
from dataclasses import dataclass, replace

from clickflow.data.prepare import Progress
from clickflow.errors import PromotionError
from clickflow.promotion.candidate import Candidate, choose
from clickflow.promotion.checks import CheckedCandidate, check_calls, check_model
from clickflow.promotion.config import PromoteConfig
from clickflow.promotion.decisions import (
    PROMOTED,
    REFUSED,
    Decision,
    RegistryState,
    finish_pending_move,
    is_rolled_back,
    move,
    moves_of,
    next_number,
    read_state,
    refuse,
)
from clickflow.promotion.evidence import Evidence, description, details, model_card, version_tags
from clickflow.promotion.gate import Verdict, gate_verdict
from clickflow.promotion.registry import CHALLENGER, CHAMPION, Registry, Version
from clickflow.runs.evaluate import EVALUATION, Evaluation, ModelScores, evaluate_on, log_scores, read_registered, refuse_unfit, score_test
from clickflow.runs.logged_config import read_config
from clickflow.tracking.lifecycle import resume_run
from clickflow.tracking.lineage import now, who
from clickflow.tracking.location import FoundModel
from clickflow.tracking.names import FINGERPRINT_TAG
from clickflow.tracking.run import Run
from clickflow.tracking.search import FoundRun, read_run
from clickflow.tracking.store import Store, open_store

ALREADY = "already champion"
MODEL_CARD = "model_card.md"


@dataclass(frozen=True)
class Outcome:
    """How a promotion ended.

    Attributes:
        kind: ``promoted``, ``not better`` or ``already champion``.
        candidate: the run to promote.
        version: its version; None after a dry run.
        champion: the version of the champion with which it was compared; None if there was none.
        verdict: the gate's verdict; None without a champion, or if the candidate is the champion.
        url: URL of the version's page.
        evaluation: its evaluation on the test split; None if it is the champion already.
    """

    kind: str
    candidate: Candidate
    version: int | None
    champion: int | None
    verdict: Verdict | None
    url: str | None
    evaluation: Evaluation | None = None


@dataclass(frozen=True)
class Champion:
    """The champion with which the run to promote is compared.

    Attributes:
        version: its version.
        uri: URI of its model.
        run: the run that trained it; None if it was registered without one.
    """

    version: Version
    uri: str
    run: FoundRun | None


def promote(config: PromoteConfig, progress: Progress = lambda stage: None) -> Outcome:
    """Promote the chosen run if it passes its checks and the gate.

    Raises:
        PromotionError: no run can be promoted, or the chosen one may not be; the registry is as it was.
        TrackingError: the store or the model's files failed; the registry is as it was, or the same command finishes what it began.
        DataError: the data set is no longer the one that the run was trained on.
    """
    registry = Registry(open_store(config.tracking, config.home), config.name)
    state = read_state(registry) if config.dry_run else finish_pending_move(registry)
    champion = _champion(registry, state)
    candidate = choose(registry.store, config, champion.run if champion else None, _taken_back(state), progress)
    if _is_champion(candidate, champion):
        return _already(registry, candidate, state)
    progress(f"checking the model of run {candidate.run.run_id[:12]}")
    checked = check_model(registry.store, candidate, config.home)
    evaluation = None
    while True:
        if champion is not None:
            _check_against(registry.store, checked, champion)
        if evaluation is None:
            progress("evaluating it on the test split")
            evaluation = _evaluate(registry.store, checked)
        evidence = _collect_evidence(registry.store, config, checked, evaluation, champion, progress)
        outcome = _decide(registry, config, checked, evidence, next_number(state.versions))
        if outcome is not None:
            return outcome
        progress("the champion changed meanwhile; comparing with the new one")
        state = read_state(registry)
        champion = _champion(registry, state)
        if _is_champion(candidate, champion):  # another process promoted the same
            return _already(registry, candidate, state)


def _champion(registry: Registry, state: RegistryState) -> Champion | None:
    version = state.champion_version
    if version is None:
        return None
    run = read_run(registry.store, version.run_id) if version.run_id else None
    return Champion(version, f"models:/{registry.name}/{version.number}", run)


def _taken_back(state: RegistryState) -> dict[str, int]:
    """Run id -> its version, of all versions that were rolled back."""
    moves = moves_of(state.versions)
    return {version.run_id: version.number for version in state.versions if is_rolled_back(moves, version.number)}


def _is_champion(candidate: Candidate, champion: Champion | None) -> bool:
    return champion is not None and champion.version.run_id == candidate.run.run_id


def _already(registry: Registry, candidate: Candidate, state: RegistryState) -> Outcome:
    return Outcome(ALREADY, candidate, state.champion, state.champion, None, registry.url(state.champion) if state.champion else None)


def _check_against(store: Store, checked: CheckedCandidate, champion: Champion) -> None:
    """Check that the two can be compared, and that the champion's callers can call the candidate.

    Raises:
        PromotionError: they cannot.
    """
    if champion.run is None:
        raise PromotionError(
            f"champion {champion.uri}: was registered without its run, so nothing can be compared with it; set name=NAME to register "
            "another model."
        )
    run = checked.chosen.run
    ours, theirs = (one.tags.get(FINGERPRINT_TAG, "unknown") for one in (run, champion.run))
    if ours != theirs:
        raise PromotionError(
            f"run_id = {run.run_id}: was trained on data {ours[:12]}, the champion {champion.uri} on {theirs[:12]}; only models of "
            "the same data can be compared; train on the champion's data, or set name=NAME to register a model of the new data beside it."
        )
    check_calls(store, checked, champion.uri)


def _evaluate(store: Store, checked: CheckedCandidate) -> Evaluation:
    with resume_run(store, checked.chosen.run.run_id, EVALUATION) as run:
        refuse_unfit(run.found)
        return evaluate_on(run, checked.model, checked.dataset)


def _score_champion(store: Store, run_id: str, uri: str, checked: CheckedCandidate) -> ModelScores:
    """The champion's scores on the candidate's test rows; its run keeps the evaluation that it has if that says the same."""
    with resume_run(store, run_id, EVALUATION) as run:
        refuse_unfit(run.found)
        model = read_registered(store, FoundModel(uri, run_id), checked.dataset, read_config(store, run.found).trainer)
        scores = score_test(run, model, checked.dataset)
        return scores if scores.are_on(run.found) else log_scores(run, checked.dataset, scores)


def _collect_evidence(
    store: Store,
    config: PromoteConfig,
    checked: CheckedCandidate,
    evaluation: Evaluation,
    champion: Champion | None,
    progress: Progress,
) -> Evidence:
    if champion is None or champion.run is None:
        return Evidence(checked.chosen, evaluation, None, None, None, now(), who())
    progress(f"evaluating the champion, version {champion.version.number}, on the same rows")
    scores = _score_champion(store, champion.run.run_id, champion.uri, checked)
    metric = config.metric.removeprefix("val/")
    verdict = gate_verdict(evaluation.scored.rows, scores.scored.rows, metric, min_effect=config.min_effect, alpha=config.alpha)
    return Evidence(checked.chosen, evaluation, champion.version, scores, verdict, now(), who())


def _decide(registry: Registry, config: PromoteConfig, checked: CheckedCandidate, evidence: Evidence, number: int) -> Outcome | None:
    """Register and decide, as the move with this number; None if the champion is another one by now."""
    kind = PROMOTED if evidence.is_passed else REFUSED
    candidate, champion = evidence.candidate, evidence.champion.number if evidence.champion else None
    if config.dry_run:
        return Outcome(kind, candidate, None, champion, evidence.verdict, None, evidence.evaluation)
    if registry.alias(CHAMPION) != champion:
        return None
    run = candidate.run
    version = registry.register(run.run_id, candidate.model_id, version_tags(evidence, config), description(evidence, config)).number
    registry.set_alias(CHALLENGER, version)
    _log_model_card(registry, config, checked, evidence, version)
    decision = Decision(kind, version, champion, champion, evidence.at, evidence.by, details=details(evidence, config))
    if kind == REFUSED:
        refuse(registry, decision)
    elif not move(registry, replace(decision, successor=version, number=number)):
        return None
    return Outcome(kind, candidate, version, champion, evidence.verdict, registry.url(version), evidence.evaluation)


def _log_model_card(registry: Registry, config: PromoteConfig, checked: CheckedCandidate, evidence: Evidence, version: int) -> None:
    """Log the model card onto the run: what the gate found, and not yet what became of it."""
    card = model_card(evidence, config, checked.config.model_dump(mode="json"), f"{registry.name}, version {version}")
    with contextlib.closing(Run(registry.store, evidence.candidate.run)) as run:
        run.log_text(card, MODEL_CARD)
