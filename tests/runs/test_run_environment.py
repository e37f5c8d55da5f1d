"""What of a run's environment is different now, and when identical numbers can be asked for."""

import dataclasses

import pytest

from clickflow.runs.run_environment import LIBRARIES, RunEnvironment, changes, same_machine
from clickflow.tracking.lineage import GitState, environment_report, lineage_tags, machine_tags, thread_tags

VERSIONS = {"python": "3.11.2"} | dict.fromkeys(LIBRARIES, "1.0")
THEN = RunEnvironment(GitState("a" * 40, "false"), VERSIONS, "Zen (AVX2)", "2")


def other(**values):
    return dataclasses.replace(THEN, **values)


def test_nothing_is_different_under_the_same_environment():
    assert changes(THEN, THEN) == []
    assert same_machine(THEN, THEN)


@pytest.mark.parametrize(
    ("now", "line"),
    [
        (other(versions=VERSIONS | {"torch": "2.0"}), "torch: 2.0 here, 1.0 then"),
        (other(cpu="Zen (AVX512)"), r"processor: Zen (AVX512) here, Zen (AVX2) then"),
        (other(threads="1"), "threads: 1 here, 2 then"),
    ],
)
def test_another_machine_is_said_and_need_not_give_the_same_bits(now, line):
    assert changes(THEN, now) == [line]
    assert not same_machine(THEN, now)


@pytest.mark.parametrize(
    ("then", "now", "line"),
    [
        (GitState("a" * 40, "false"), GitState("b" * 40, "false"), "code: this is commit bbbbbbbbbbbb, the run was made by aaaaaaaaaaaa"),
        (GitState("a" * 40, "true"), GitState("a" * 40, "false"), "the run was made with changes that were not committed"),
        (GitState("a" * 40, "false"), GitState("a" * 40, "true"), "this clone has changes that are not committed"),
        (GitState("unknown", "unknown"), GitState("a" * 40, "false"), "the commit of the run or of this clone is unknown"),
    ],
)
def test_other_code_is_said_but_must_give_the_same(then, now, line):
    [said] = changes(other(code=then), other(code=now))
    assert line in said
    assert same_machine(other(code=then), other(code=now))


@pytest.mark.parametrize("unknown", [{"cpu": "unknown"}, {"threads": "unknown"}, {"versions": VERSIONS | {"torch": "unknown"}}])
def test_environment_that_nobody_wrote_down_are_not_the_same(unknown):
    assert not same_machine(other(**unknown), other(**unknown))


def test_they_are_read_from_what_a_run_holds(tmp_path):
    tags = lineage_tags(tmp_path) | machine_tags() | thread_tags()
    found = RunEnvironment.of_run(tags, environment_report())
    assert "unknown" not in (found.cpu, found.threads, *found.versions.values())
    assert found.versions["torch"].startswith("2.")
    assert RunEnvironment.of_run({}, "").versions == dict.fromkeys(["python", *LIBRARIES], "unknown")
