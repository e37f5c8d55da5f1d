"""Promotion: find, check, evaluate against the champion, register, decide.

Decision: everything that can fail comes before the registry is written. A promotion that ends with an error leaves no version and no alias,
and one that was killed while it evaluated leaves nothing to clean up. What remains is a few writes, which any later command finishes
(:mod:`clickflow.promotion.decisions`).
"""

import contextlib
from dataclasses import dataclass, replace

from clickflow.data.prepare import Progress
from clickflow.errors import PromotionError
from clickflow.promotion.challenger import Challenger, choose
from clickflow.promotion.checks import CheckedChallenger, check_calls, check_model
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
from clickflow.runs.evaluate import EVALUATION, Evaluation, evaluate_on, log_scores, read_registered, refuse_unfit, score_test
from clickflow.runs.logged_config import read_config
from clickflow.tracking.lifecycle import resume_run
from clickflow.tracking.location import FoundModel
from clickflow.tracking.names import FINGERPRINT_TAG
from clickflow.tracking.run import Run
from clickflow.tracking.search import FoundRun, read_run
from clickflow.tracking.store import Store, open_store

ALREADY = "already champion"
MODEL_CARD = "model_card.md"


@dataclass(frozen=True)
class Outcome:
    """The outcome of a promotion.

    Attributes:
        kind: ``promoted``, ``not better`` or ``already champion``.
        challenger: the run to promote.
        version: its version; None after a dry run.
        champion: the version with which it was compared; None if there was none.
        verdict: the gate's verdict; None without a champion, or if the challenger is the champion.
        url: URL of the version's page.
        evaluation: of the challenger on the test split; None if it is the champion already.
    """

    kind: str
    challenger: Challenger
    version: int | None
    champion: int | None
    verdict: Verdict | None
    url: str | None
    evaluation: Evaluation | None = None


@dataclass(frozen=True)
class Champion:
    """The champion as it was read for one decision; it has no run if it was registered without one."""

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
    store = registry.store
    state = read_state(registry) if config.dry_run else finish_pending_move(registry)
    champion = _champion(registry, state)
    moves = moves_of(state.versions)
    taken_back = {version.run_id: version.number for version in state.versions if is_rolled_back(moves, version.number)}
    challenger = choose(store, config, champion.run if champion else None, taken_back, progress)
    checked: CheckedChallenger | None = None
    evaluation: Evaluation | None = None
    while champion is None or champion.version.run_id != challenger.run.run_id:
        if checked is None:
            progress(f"checking the model of run {challenger.run.run_id[:12]}")
            checked = check_model(store, challenger, config.home)
        if champion is not None:
            _check_against(store, checked, champion)
        if evaluation is None:
            progress("evaluating it on the test split")
            with resume_run(store, challenger.run.run_id, EVALUATION) as run:
                refuse_unfit(run.found)
                evaluation = evaluate_on(run, checked.model, checked.dataset)
        evidence = _collect_evidence(store, config, checked, evaluation, champion, progress)
        outcome = _decide(registry, config, checked, evidence, next_number(state.versions))
        if outcome is not None:
            return outcome
        progress("the champion changed meanwhile; comparing with the new one")
        state = read_state(registry)
        champion = _champion(registry, state)
    number = champion.version.number
    return Outcome(ALREADY, challenger, number, number, None, registry.url(number))


def _champion(registry: Registry, state: RegistryState) -> Champion | None:
    version = state.champion_version
    if version is None:
        return None
    run = read_run(registry.store, version.run_id) if version.run_id else None
    return Champion(version, f"models:/{registry.name}/{version.number}", run)


def _check_against(store: Store, checked: CheckedChallenger, champion: Champion) -> None:
    """Check that the two can be compared, and that the champion's callers can call the challenger.

    Raises:
        PromotionError: they cannot.
    """
    if champion.run is None:
        raise PromotionError(
            f"champion {champion.uri}: was registered without its run, so nothing can be compared with it; set name=NAME to register "
            "another model."
        )
    run = checked.challenger.run
    ours, theirs = (one.tags.get(FINGERPRINT_TAG, "unknown") for one in (run, champion.run))
    if ours != theirs:
        raise PromotionError(
            f"run_id = {run.run_id}: was trained on data {ours[:12]}, the champion {champion.uri} on {theirs[:12]}; only models of "
            "the same data can be compared; train on the champion's data, or set name=NAME to register a model of the new data beside it."
        )
    check_calls(store, checked, champion.uri)


def _collect_evidence(
    store: Store,
    config: PromoteConfig,
    checked: CheckedChallenger,
    evaluation: Evaluation,
    champion: Champion | None,
    progress: Progress,
) -> Evidence:
    if champion is None or champion.run is None:
        return Evidence(checked.challenger, evaluation)
    progress(f"evaluating the champion, version {champion.version.number}, on the same rows")
    found, dataset = FoundModel(champion.uri, champion.run.run_id), checked.dataset
    with resume_run(store, found.run_id, EVALUATION) as run:
        refuse_unfit(run.found)
        scores = score_test(run, read_registered(store, found, dataset, read_config(store, run.found).trainer), dataset)
        if not scores.are_on(run.found):  # else the run keeps the evaluation that it has
            scores = log_scores(run, dataset, scores)
    metric = config.metric.removeprefix("val/")
    verdict = gate_verdict(evaluation.scored.rows, scores.scored.rows, metric, min_effect=config.min_effect, alpha=config.alpha)
    return Evidence(checked.challenger, evaluation, champion.version, scores, verdict)


def _decide(registry: Registry, config: PromoteConfig, checked: CheckedChallenger, evidence: Evidence, number: int) -> Outcome | None:
    """Register and decide, as the move with this number; None if the champion is another one by now."""
    kind = PROMOTED if evidence.is_passed else REFUSED
    challenger, champion = evidence.challenger, evidence.champion.number if evidence.champion else None
    if config.dry_run:
        return Outcome(kind, challenger, None, champion, evidence.verdict, None, evidence.evaluation)
    if registry.alias(CHAMPION) != champion:
        return None
    run = challenger.run
    version = registry.register(run.run_id, challenger.model_id, version_tags(evidence, config), description(evidence, config)).number
    registry.set_alias(CHALLENGER, version)
    # What the gate found, and not yet what became of it.
    card = model_card(evidence, config, checked.config.model_dump(mode="json"), f"{registry.name}, version {version}")
    with contextlib.closing(Run(registry.store, run)) as opened:
        opened.log_text(card, MODEL_CARD)
    decision = Decision(kind, version, champion, champion, evidence.at, evidence.by, details=details(evidence, config))
    if kind == REFUSED:
        refuse(registry, decision)
    elif not move(registry, replace(decision, successor=version, number=number)):
        return None
    return Outcome(kind, challenger, version, champion, evidence.verdict, registry.url(version), evidence.evaluation)
