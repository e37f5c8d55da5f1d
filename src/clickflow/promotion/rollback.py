"""Rollback: the version that the champion replaced becomes champion again.

Decision: the way back is read from the log of decisions, not from the alias ``previous`` alone, so that each further rollback goes one
promotion further back.
"""

from dataclasses import dataclass

from clickflow.data.prepare import Progress
from clickflow.errors import PromotionError
from clickflow.promotion.checks import check_served
from clickflow.promotion.config import PromoteConfig
from clickflow.promotion.decisions import ROLLED_BACK, Decision, finish_pending_move, move, moves_of, next_number, promotion_of, read_state
from clickflow.promotion.registry import Registry
from clickflow.text import counted
from clickflow.tracking.lineage import now, who
from clickflow.tracking.store import open_store


@dataclass(frozen=True)
class Rollback:
    """The effect of a rollback, done or planned: the version that it took back, and the one that is champion now with its page."""

    taken_back: int
    champion: int
    url: str


def roll_back(config: PromoteConfig, progress: Progress = lambda stage: None) -> Rollback:
    """Make the version that the champion replaced the champion again, after checking that it still predicts.

    Raises:
        PromotionError: there is nothing to go back to, the version no longer predicts, or the champion changed meanwhile.
        TrackingError: the registry does not answer, or the version's files are missing or damaged.
    """
    registry = Registry(open_store(config.tracking, config.home), config.name)
    state = read_state(registry) if config.dry_run else finish_pending_move(registry)
    versions, champion = state.versions, state.champion
    if champion is None:
        known = f"it has {counted(len(versions), 'version')}" if versions else "no model of this name is registered"
        raise PromotionError(f"name = {config.name}: has no champion to roll back ({known}); promote a run first, or correct the name.")
    promotion = promotion_of(moves_of(versions), champion)
    if promotion is None or promotion.champion is None:
        why = "was the first champion" if promotion else "was made champion by hand, so the log does not say what it replaced"
        raise PromotionError(
            f"name = {config.name}: version {champion} {why}: nothing to go back to; run_id=RUN promotes another run instead."
        )
    target = promotion.champion
    if target not in (version.number for version in versions):
        raise PromotionError(
            f"name = {config.name}: version {target}, which version {champion} replaced, was deleted; promote its run again."
        )
    progress(f"checking version {target}")
    check_served(registry.store, f"models:/{config.name}/{target}")
    if not config.dry_run:
        decision = Decision(ROLLED_BACK, champion, champion, target, now(), who(), next_number(versions), promotion.number)
        if not move(registry, decision):
            raise PromotionError(
                f"name = {config.name}: the champion changed meanwhile and is not version {champion} any more; look at history=true."
            )
    return Rollback(champion, target, registry.url(target))
