"""The log of a registered model's decisions, and how the alias ``champion`` moves.

MLflow cannot move an alias on a condition, so two promotions at the same time could overwrite each other. What every store does in one
step is to make a registered model of a name that nobody has (a unique key of its database). So each move of the champion has a number, one
more than the last move's, and whoever makes the registered model ``NAME.decision-8`` with the move in its tags decides move 8: it is then
carried out (aliases, log) and the claim taken away.

Decision: no lock. A lock that its holder left behind has to be broken, and who breaks it has to know that the holder is dead, which another
machine cannot know. A claim says what is being done, so whoever finds one finishes it: every step is idempotent, nobody waits, and nothing
is left by a process that was killed but what the next command completes.

Moves and refusals are tags of the versions they are about, so that the log is where the registry is, for every machine.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from clickflow.errors import TrackingError
from clickflow.promotion.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry, Version

LOG_PREFIX = "decision."
STATE_TAG = "decision"
"""Of a version: the last decision about it, in words."""
PROMOTED, ROLLED_BACK, REFUSED = "promoted", "rolled back", "not better"
MOVE_TAG = "move"


@dataclass(frozen=True)
class Decision:
    """A decision about a version.

    Attributes:
        kind: ``promoted``, ``rolled back`` or ``not better``.
        version: the one decided about.
        champion: the version that was champion before; None where there was none.
        successor: the version that is champion after.
        at: UTC, ISO 8601.
        by: user, machine and process.
        number: of the move; None of a refusal, which moves nothing.
        undoes: of a rollback, the number of the promotion it takes back.
        details: JSON values for whoever reads the log: run, metric, difference, …
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


def log_of(versions: Iterable[Version]) -> list[Decision]:
    """All decisions in order: by time, and moves among themselves by number, since clocks of machines differ."""
    decisions = [_read(text) for version in versions for key, text in version.tags.items() if key.startswith(LOG_PREFIX)]
    return sorted(decisions, key=lambda decision: (decision.at, decision.number or 0))


def moves_of(versions: Iterable[Version]) -> list[Decision]:
    """The decisions that moved the champion, in order."""
    return sorted((one for one in log_of(versions) if one.number is not None), key=lambda move: move.number or 0)


def move_that_made(moves: Iterable[Decision], version: int | None) -> Decision | None:
    """The promotion by which a version is champion: its last one that no rollback took back; None where none is known."""
    moves = list(moves)
    undone = {move.undoes for move in moves}
    held = [move for move in moves if move.kind == PROMOTED and move.version == version and move.number not in undone]
    return held[-1] if held else None


def is_rolled_back(moves: Iterable[Decision], version: int) -> bool:
    """Whether the last move about a version took it back."""
    about = [move.kind for move in moves if move.version == version]
    return bool(about) and about[-1] == ROLLED_BACK


def next_number(versions: Iterable[Version]) -> int:
    """The number of the next move."""
    return 1 + max((move.number or 0 for move in moves_of(versions)), default=0)


def refuse(registry: Registry, decision: Decision) -> None:
    """Put a refusal into the log."""
    registry.set_tags(decision.version, {f"{LOG_PREFIX}{decision.at}": _write(decision), STATE_TAG: _in_words(decision)})


def move(registry: Registry, decision: Decision) -> bool:
    """Move the champion, unless another move came first: then nothing is done and the answer is False.

    Raises:
        TrackingError: the registry does not answer; the same call or :func:`settle` finishes what was begun.
    """
    claim = _claim(registry, decision.number)
    tags = {MOVE_TAG: _write(decision)}
    if not registry.claim(claim, tags, f"{registry.name} is being decided on; the next promotion takes this away if it is left behind"):
        finish_pending_move(registry)
        return False
    return _carry_out(registry, claim, decision)


def finish_pending_move(registry: Registry) -> None:
    """Finish a move that another process began, if there is one: it may have been killed."""
    following = next_number(registry.versions())
    for number in (following - 1, following):  # of the last move all may be done but to take the claim away
        claim = _claim(registry, number)
        tags = registry.claimed(claim) or {}
        if MOVE_TAG in tags:  # else another process takes it away just now, and its tags are gone already
            _carry_out(registry, claim, _read(tags[MOVE_TAG]))


def _carry_out(registry: Registry, claim: str, move: Decision) -> bool:
    """All steps of a claimed move; several processes may do them at the same time, and each may stop anywhere.

    The claim may be of a number that is taken (it was made on an old reading of the log) or of a champion that is no more (an
    alias moved by hand): then nothing is done but to take it away.
    """
    champion = registry.alias(CHAMPION)  # before the log: a champion of a later move comes with a log that has this one
    recorded = _recorded(registry, move)
    if recorded is None and champion in (move.champion, move.successor):
        _set_aliases(registry, move)
        registry.set_tags(move.version, {f"{LOG_PREFIX}{move.number:04}": _write(move), STATE_TAG: _in_words(move)})
        recorded = move
    registry.release(claim)
    last = moves_of(registry.versions())[-1:]
    if recorded == move and last and last[0].number != move.number:  # this process was slow and has set the aliases back
        _set_aliases(registry, last[0])
    return recorded == move


def _set_aliases(registry: Registry, move: Decision) -> None:
    """``previous`` first, so that there is a way back from any champion."""
    previous = move.champion
    if move.kind == ROLLED_BACK:
        before = move_that_made(moves_of(registry.versions()), move.successor)
        previous = before.champion if before else None
    registry.set_alias(PREVIOUS, previous)
    registry.set_alias(CHAMPION, move.successor)
    if registry.alias(CHALLENGER) == move.successor:
        registry.set_alias(CHALLENGER, None)


def _recorded(registry: Registry, move: Decision) -> Decision | None:
    """The move of the same number in the log."""
    return next((one for one in moves_of(registry.versions()) if one.number == move.number), None)


def _claim(registry: Registry, number: int | None) -> str:
    return f"{registry.name}.decision-{number}"


def _in_words(decision: Decision) -> str:
    return f"{decision.kind} {decision.at} by {decision.by}"


def _write(decision: Decision) -> str:
    return json.dumps({key: value for key, value in asdict(decision).items() if value is not None and value != {}})


def _read(text: str) -> Decision:
    try:
        return Decision(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise TrackingError(f"decision = {text[:80]!r}: not an entry of the log of decisions; remove the tag from the version") from error
