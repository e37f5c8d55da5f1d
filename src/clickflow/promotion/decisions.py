"""The log of the decisions about a registered model, and how the alias ``champion`` moves.

MLflow cannot move an alias on a condition, so two promotions at the same time could overwrite each other. But every store creates a
registered model of an unused name in one step (the name is a unique key of its database). So each move of the champion has a number, one
more than the last move's. The process that creates the registered model ``NAME.decision-8`` with the move in its tags has decided move 8.
It then carries the move out (aliases, log) and removes this claim.

Decision: no lock. A lock whose holder died must be broken, and only the holder's machine can know that it died. A claim says what is being
done, so the next process that finds one finishes it. Every step is idempotent, nobody waits, and a killed process leaves nothing that the
next command does not complete.

Moves and refusals are tags of the versions they are about, so every machine that reaches the registry reads the same log.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from clickflow.errors import TrackingError
from clickflow.promotion.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry, Version
from clickflow.tracking.names import DECISION_PREFIX, DECISION_TAG, MOVE_TAG

PROMOTED, ROLLED_BACK, REFUSED = "promoted", "rolled back", "not better"


@dataclass(frozen=True)
class Decision:
    """A decision about a version.

    Attributes:
        kind: ``promoted``, ``rolled back`` or ``not better``.
        version: the version that is decided about.
        champion: the version that was champion before.
        successor: the version that is champion afterwards.
        at: time in UTC, ISO 8601.
        by: user and machine.
        number: of the move; None for a refusal, which moves nothing.
        undoes: for a rollback, the number of the promotion that it takes back.
        details: JSON values for readers of the log: run, metric, difference, …
    """

    kind: str
    version: int
    champion: int | None = None
    successor: int | None = None
    at: str = ""
    by: str = ""
    number: int | None = None
    undoes: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class RegistryState:
    """A registered model as it was read for one decision: its versions, the oldest first, and the champion's number."""

    versions: list[Version]
    champion: int | None

    @property
    def champion_version(self) -> Version | None:
        """The version that is champion."""
        return next((version for version in self.versions if version.number == self.champion), None)


def read_state(registry: Registry) -> RegistryState:
    """Read the versions first and then the champion: a move in between takes the number that a decision on this state would claim."""
    versions = registry.versions()
    return RegistryState(versions, registry.alias(CHAMPION))


def log_of(versions: Iterable[Version]) -> list[Decision]:
    """All decisions in the order of their times, which may differ from machine to machine."""
    decisions = [_read(text) for version in versions for key, text in version.tags.items() if key.startswith(DECISION_PREFIX)]
    return sorted(decisions, key=lambda decision: (decision.at, decision.number or 0))


def moves_of(versions: Iterable[Version]) -> list[Decision]:
    """The decisions that moved the champion, in the order of their numbers."""
    return sorted((one for one in log_of(versions) if one.number is not None), key=lambda move: move.number or 0)


def promotion_of(moves: Iterable[Decision], version: int | None) -> Decision | None:
    """The promotion that made a version champion: its last one that no rollback took back; None if none is known."""
    moves = list(moves)
    undone = {move.undoes for move in moves}
    valid = [move for move in moves if move.kind == PROMOTED and move.version == version and move.number not in undone]
    return valid[-1] if valid else None


def is_rolled_back(moves: Iterable[Decision], version: int) -> bool:
    """Whether the last move about a version took it back."""
    about = [move.kind for move in moves if move.version == version]
    return bool(about) and about[-1] == ROLLED_BACK


def next_number(versions: Iterable[Version]) -> int:
    """The number of the next move."""
    return 1 + max((move.number or 0 for move in moves_of(versions)), default=0)


def refuse(registry: Registry, decision: Decision) -> None:
    """Write a refusal to the log."""
    _record(registry, decision, decision.at)


def move(registry: Registry, decision: Decision) -> bool:
    """Move the champion, unless another move came first: then nothing is done and the answer is False.

    Raises:
        TrackingError: the registry does not answer; the same call or :func:`finish_pending_move` finishes what was started.
    """
    claim = _claim(registry, decision.number)
    tags = {MOVE_TAG: _write(decision)}
    if not registry.claim(claim, tags, f"{registry.name} is being decided on; the next promotion removes this if it is left behind"):
        finish_pending_move(registry)
        return False
    return _carry_out(registry, claim, decision)


def finish_pending_move(registry: Registry) -> RegistryState:
    """Finish a move that another process began and may have been killed in, if there is one; returns the state afterwards."""
    versions = registry.versions()
    following = next_number(versions)
    for number in (following - 1, following):  # all of the last move may be done except removing its claim
        claim = _claim(registry, number)
        tags = registry.claimed(claim) or {}
        if MOVE_TAG in tags:  # else another process is just removing it, and its tags are gone already
            _carry_out(registry, claim, _read(tags[MOVE_TAG]))
            versions = registry.versions()
    return RegistryState(versions, registry.alias(CHAMPION))


def _carry_out(registry: Registry, claim: str, move: Decision) -> bool:
    """Do all steps of a claimed move; several processes may do them at the same time, and each may stop anywhere.

    The claim may be for a number that is taken (it was made from an old reading of the log) or for a champion that is no longer
    champion (somebody moved the alias by hand): then the claim is only removed.
    """
    champion = registry.alias(CHAMPION)  # before the log: the log then has this move if the champion is a later move's
    recorded = next((one for one in moves_of(registry.versions()) if one.number == move.number), None)
    if recorded is None and champion in (move.champion, move.successor):
        _set_aliases(registry, move)
        _record(registry, move, f"{move.number:04}")
        recorded = move
    registry.release(claim)
    last = moves_of(registry.versions())[-1:]
    if recorded == move and last and last[0].number != move.number:  # this process was slow and has set the aliases back
        _set_aliases(registry, last[0])
    return recorded == move


def _set_aliases(registry: Registry, move: Decision) -> None:
    """Set ``previous`` first, so that there is a way back from any champion."""
    previous = move.champion
    if move.kind == ROLLED_BACK:
        before = promotion_of(moves_of(registry.versions()), move.successor)
        previous = before.champion if before else None
    registry.set_alias(PREVIOUS, previous)
    registry.set_alias(CHAMPION, move.successor)
    if registry.alias(CHALLENGER) == move.successor:
        registry.set_alias(CHALLENGER, None)


def _claim(registry: Registry, number: int | None) -> str:
    return f"{registry.name}.decision-{number}"


def _record(registry: Registry, decision: Decision, key: str) -> None:
    """Write a decision to the log, and in words onto its version."""
    words = f"{decision.kind} {decision.at} by {decision.by}"
    registry.set_tags(decision.version, {f"{DECISION_PREFIX}{key}": _write(decision), DECISION_TAG: words})


def _write(decision: Decision) -> str:
    return json.dumps({key: value for key, value in asdict(decision).items() if value is not None and value != {}})


def _read(text: str) -> Decision:
    try:
        return Decision(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise TrackingError(f"decision = {text[:80]!r}: not an entry of the log of decisions; remove the tag from the version") from error
