"""Moves of the champion: one wins, none is lost, and whoever is killed anywhere leaves what the next one finishes."""

import contextlib
import itertools
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clickflow.errors import TrackingError
from clickflow.promotion.decisions import (
    PROMOTED,
    REFUSED,
    ROLLED_BACK,
    Decision,
    finish_pending_move,
    is_rolled_back,
    log_of,
    move,
    moves_of,
    next_number,
    promotion_of,
    refuse,
)
from clickflow.promotion.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry, Version

VERSIONS = 4


class Killed(BaseException):
    """Stands for SIGKILL: nobody may catch it."""


class MemoryRegistry(Registry):
    """A registry without a database; each call first asks ``step``, which may wait or kill."""

    def __init__(self, num_versions=VERSIONS):
        self.name = "ctr"
        self.step = lambda writes: None
        self.tags = {number: {} for number in range(1, num_versions + 1)}
        self.aliases = {}
        self.claims = {}

    def versions(self):
        self.step(False)
        return [Version(number, f"run-{number}", f"files-{number}", dict(tags)) for number, tags in self.tags.items()]

    def alias(self, alias):
        self.step(False)
        return self.aliases.get(alias)

    def set_alias(self, alias, number):
        self.step(True)
        self.aliases.pop(alias, None)
        if number is not None:
            self.aliases[alias] = number

    def set_tags(self, number, tags):
        for key, value in tags.items():
            self.step(True)
            self.tags[number][key] = value

    def claim(self, name, tags, description=""):
        self.step(True)
        return self.claims.setdefault(name, dict(tags)) == dict(tags) and self.claims[name] is not None

    def claimed(self, name):
        self.step(False)
        return self.claims.get(name)

    def release(self, name):
        self.step(True)
        self.claims.pop(name, None)


clock = itertools.count()


def promotion(registry, version, by="a"):
    """A promotion of a version over whoever is champion now."""
    number, champion = next_number(registry.versions()), registry.alias(CHAMPION)
    return Decision(PROMOTED, version, champion, version, f"2026-01-01T00:00:00.{next(clock):06}Z", by, number)


def rollback(registry):
    """A rollback of the champion; None where there is nothing to go back to."""
    moves, champion = moves_of(registry.versions()), registry.alias(CHAMPION)
    held = promotion_of(moves, champion)
    if held is None or held.champion is None:
        return None
    at = f"2026-01-01T00:00:00.{next(clock):06}Z"
    return Decision(ROLLED_BACK, champion, champion, held.champion, at, "a", next_number(registry.versions()), held.number)


def check_consistent(registry):
    moves = moves_of(registry.versions())
    assert [one.number for one in moves] == list(range(1, len(moves) + 1))
    for earlier, later in itertools.pairwise(moves):
        assert later.champion == earlier.successor
    assert registry.aliases.get(CHAMPION) == (moves[-1].successor if moves else None)
    held = promotion_of(moves, registry.aliases.get(CHAMPION))
    assert registry.aliases.get(PREVIOUS) == (held.champion if held else None)
    assert registry.claims == {}


def test_the_first_promotion_has_no_previous():
    registry = MemoryRegistry()
    registry.set_alias(CHALLENGER, 1)
    assert move(registry, promotion(registry, 1))
    assert registry.aliases == {CHAMPION: 1}
    assert registry.tags[1]["decision"].startswith("promoted 2026")


def test_rollbacks_lead_back_as_many_promotions():
    registry = MemoryRegistry()
    for version in (3, 4, 1):
        assert move(registry, promotion(registry, version))
    assert registry.aliases == {CHAMPION: 1, PREVIOUS: 4}
    assert move(registry, rollback(registry))
    assert registry.aliases == {CHAMPION: 4, PREVIOUS: 3}
    assert is_rolled_back(moves_of(registry.versions()), 1)
    assert move(registry, rollback(registry))
    assert registry.aliases == {CHAMPION: 3}
    assert rollback(registry) is None


def test_a_version_that_is_promoted_again_is_no_circle():
    registry = MemoryRegistry()
    for version in (3, 4, 3):
        assert move(registry, promotion(registry, version))
    assert move(registry, rollback(registry))
    assert registry.aliases == {CHAMPION: 4, PREVIOUS: 3}
    assert move(registry, rollback(registry))
    assert registry.aliases == {CHAMPION: 3}
    assert rollback(registry) is None


def test_an_alias_that_was_moved_by_hand_is_respected():
    registry = MemoryRegistry()
    assert move(registry, promotion(registry, 1))
    asked = promotion(registry, 2)
    registry.set_alias(CHAMPION, 3)
    assert not move(registry, asked)
    assert registry.aliases == {CHAMPION: 3}
    assert registry.claims == {}


def test_a_refusal_moves_nothing_and_is_in_the_log():
    registry = MemoryRegistry()
    assert move(registry, promotion(registry, 1))
    refuse(registry, Decision(REFUSED, 2, 1, 1, "2026-02-01T00:00:00.000000Z", "a", details={"difference": -0.1}))
    assert registry.aliases == {CHAMPION: 1}
    assert [(one.kind, one.version) for one in log_of(registry.versions())] == [(PROMOTED, 1), (REFUSED, 2)]
    assert log_of(registry.versions())[1].details == {"difference": -0.1}
    assert next_number(registry.versions()) == 2


def test_a_tag_that_is_no_entry_of_the_log_is_named():
    registry = MemoryRegistry()
    registry.tags[1]["decision.by-hand"] = "yes"
    with pytest.raises(TrackingError, match="decision = 'yes': not an entry of the log of decisions; remove the tag"):
        log_of(registry.versions())


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, VERSIONS), st.integers(0, 12)), max_size=8))
def test_whoever_is_killed_anywhere_leaves_what_the_next_one_finishes(commands):
    """A command is the version to promote (0: roll back) and the write before which it is killed (few have that many)."""
    registry, stack = MemoryRegistry(), []
    for version, last_write in commands:
        finish_pending_move(registry)
        check_consistent(registry)
        asked = rollback(registry) if version == 0 else promotion(registry, version)
        if asked is None or asked.champion == asked.successor:
            continue
        remaining = iter(range(last_write))
        registry.step = lambda writes, remaining=remaining: next(remaining, None) is None and writes and kill()
        with contextlib.suppress(Killed):
            assert move(registry, asked)
        registry.step = lambda writes: None
        finish_pending_move(registry)
        done = asked.number in {one.number for one in moves_of(registry.versions())}
        if done and version == 0:
            stack.pop()
        elif done:
            stack.append(version)
        check_consistent(registry)
        assert registry.aliases.get(CHAMPION) == (stack[-1] if stack else None)
        assert registry.aliases.get(PREVIOUS) == (stack[-2] if len(stack) > 1 else None)


def kill():
    raise Killed


class Schedule:
    """Lets threads take one call of the registry at a time, in a given order; then whoever comes."""

    def __init__(self, order, names):
        self.order = list(order)
        self.alive = set(names)
        self.condition = threading.Condition()

    def step(self, writes):
        name = threading.current_thread().name
        with self.condition:
            assert self.condition.wait_for(lambda: self.turn() in (None, name), timeout=20)
            if self.order:
                self.order.pop(0)
            self.condition.notify_all()

    def turn(self):
        while self.order and self.order[0] not in self.alive:
            self.order.pop(0)
        return self.order[0] if self.order else None

    def end(self, name):
        with self.condition:
            self.alive.discard(name)
            self.condition.notify_all()


@settings(max_examples=150)
@given(st.lists(st.sampled_from("abc"), max_size=120))
def test_promotions_at_the_same_time_are_all_done_one_after_the_other(order):
    registry = MemoryRegistry()
    assert move(registry, promotion(registry, 4))
    schedule = Schedule(order, "abc")
    registry.step = schedule.step
    answers = {}

    def promote(version, name):
        """As the pipeline: whoever comes second decides anew against the new champion."""
        asked = promotion(registry, version, name)
        answers[name] = [(asked, move(registry, asked))]
        while not answers[name][-1][1]:
            finish_pending_move(registry)
            asked = promotion(registry, version, name)
            answers[name].append((asked, move(registry, asked)))
        schedule.end(name)

    threads = [threading.Thread(target=promote, args=(version, name), name=name) for version, name in zip((1, 2, 3), "abc", strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    registry.step = lambda writes: None
    finish_pending_move(registry)
    check_consistent(registry)
    recorded = moves_of(registry.versions())
    assert sorted(one.version for one in recorded) == [1, 2, 3, 4]
    assert {one for tried in answers.values() for one, won in tried if won} == set(recorded[1:])
