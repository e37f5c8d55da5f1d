"""Who is dead: never one that lives, never what a living one stands on."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickflow.tracking.owner import Owner
from clickflow.tracking.search import FoundRun
from clickflow.upkeep.dead_runs import find_dead_runs, process_lives

ME = Owner.here()
DEAD = Owner(ME.host, ME.pid, ME.started - 1000)
ELSEWHERE = Owner("elsewhere-1", 7, 0.0)
OWNERS = {"alive": ME, "dead": DEAD, "elsewhere": ELSEWHERE, "unknown": None}


def run(name, owner, parent=None, kind=None, hours_silent=0.0):
    tags = {} if owner is None else dict(owner.tags)
    tags |= {} if parent is None else {"mlflow.parentRunId": parent}
    tags |= {} if kind is None else {"kind": kind}
    last_sign = int((time.time() - 3600 * hours_silent) * 1000)
    return FoundRun(name, name, "RUNNING", tags, {}, "0", (), "", last_sign, is_deleted=False)


def dead(*runs, silent_hours=None):
    return {verdict.run.run_id for verdict in find_dead_runs(runs, silent_hours) if verdict.is_dead}


def reason(one, **arguments):
    [verdict] = find_dead_runs([one], arguments.get("silent_hours"))
    return verdict.reason


def test_a_run_is_dead_when_its_process_is():
    assert dead(run("a", DEAD), run("b", ME)) == {"a"}
    assert reason(run("a", DEAD)) == f"its process {ME.pid} died"
    assert reason(run("b", ME)) == ""


def test_nothing_is_guessed_of_another_machine_or_an_unknown_process():
    assert dead(run("a", ELSEWHERE, hours_silent=1000), run("b", None, hours_silent=1000)) == set()
    assert reason(run("a", ELSEWHERE, hours_silent=30)) == "is worked on by process 7 on elsewhere-1; last sign of life 30.0 hours ago"
    assert reason(run("b", None)).startswith("does not say which process works on it")


def test_a_silence_that_the_user_set_is_taken_for_death_but_not_of_a_process_that_is_seen_to_live():
    runs = [run(name, owner, hours_silent=50) for name, owner in OWNERS.items()]
    assert dead(*runs, silent_hours=49) == {"dead", "elsewhere", "unknown"}
    assert dead(*runs, silent_hours=51) == {"dead"}
    assert reason(run("a", ELSEWHERE, hours_silent=50), silent_hours=49).startswith("no sign of life for 50 hours; it is worked on by")


@pytest.mark.parametrize("owner", ["alive", "elsewhere", "unknown"])
def test_what_a_run_that_may_live_stands_below_is_left_alone(owner):
    runs = [run("sweep", DEAD, kind="sweep"), run("trial", OWNERS[owner], parent="sweep"), run("comparison", DEAD, kind="comparison")]
    assert dead(*runs) == {"comparison"}


@pytest.mark.parametrize("owner", ["alive", "elsewhere", "unknown"])
def test_the_dead_trials_of_a_sweep_that_may_live_are_the_sweeps_own_affair(owner):
    assert dead(run("sweep", OWNERS[owner], kind="sweep"), run("trial", DEAD, parent="sweep")) == set()
    assert dead(run("grid", OWNERS[owner], kind="grid"), run("job", DEAD, parent="grid")) == {"job"}


def test_a_dead_sweep_is_closed_with_its_trials():
    assert dead(run("sweep", DEAD, kind="sweep"), run("a", DEAD, parent="sweep"), run("b", DEAD, parent="sweep")) == {"sweep", "a", "b"}


def test_one_living_trial_keeps_the_whole_sweep():
    assert dead(run("sweep", DEAD, kind="sweep"), run("a", DEAD, parent="sweep"), run("b", ME, parent="sweep")) == set()


def test_whether_a_process_lives_is_known_only_on_its_machine():
    assert [process_lives(owner.tags if owner else {}) for owner in OWNERS.values()] == [True, False, None, None]


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(OWNERS)), st.integers(0, 7), st.sampled_from([None, "sweep", "grid"]), st.floats(0, 100)),
        max_size=8,
    ),
    st.one_of(st.none(), st.floats(1, 99)),
)
def test_nobody_who_may_live_is_closed_and_nothing_above_them(described, silent_hours):
    # A run's parent is one before it, or none.
    runs = [
        run(str(position), OWNERS[owner], str(parent) if parent < position else None, kind, hours)
        for position, (owner, parent, kind, hours) in enumerate(described)
    ]
    closed = dead(*runs, silent_hours=silent_hours)
    for one, (owner, _, _, hours) in zip(runs, described, strict=True):
        may_live = owner == "alive" or (owner != "dead" and (silent_hours is None or hours < silent_hours))
        if may_live:
            assert one.run_id not in closed
        if one.run_id not in closed:
            assert one.tags.get("mlflow.parentRunId") not in closed
