"""``promote.py`` as a user types it: exit codes, what is printed, and several of them at the same time."""

import io
import itertools
import subprocess
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console
from tests.runs.small import small_config

from clickflow.cli.compose import composed_config
from clickflow.cli.overrides import experiment_as_key
from clickflow.cli.search_path import REPOSITORY
from clickflow.config import validate
from clickflow.errors import ConfigError, PromotionError
from clickflow.metrics.intervals import ConfidenceInterval
from clickflow.pipelines.promote import _print_test, main
from clickflow.promotion.config import PromoteConfig
from clickflow.promotion.decisions import log_of, moves_of
from clickflow.promotion.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry
from clickflow.runs.evaluate import Openings
from clickflow.runs.train import train
from clickflow.tracking.config import TrackingConfig
from clickflow.tracking.store import open_store

SCRIPT = str(REPOSITORY / "pipelines" / "promote.py")
KILLED_AT = """
import os, runpy, signal, sys
from clickflow.promotion.registry import Registry
step, remaining = sys.argv[1], int(sys.argv[2])
original = getattr(Registry, step)
def dying(*arguments, **keywords):
    global remaining
    if remaining == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    remaining -= 1
    return original(*arguments, **keywords)
setattr(Registry, step, dying)
sys.argv = sys.argv[3:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Promotes and dies at a call of the registry's: ``python -c … METHOD CALLS promote.py …``."""


def promote_config(*overrides):
    return validate(PromoteConfig, composed_config("promote", experiment_as_key(overrides)))


def test_the_config_has_a_default_for_all_of_its_keys():
    config = promote_config()
    assert (config.name, config.metric, config.min_effect, config.alpha, config.dry_run) == ("ctr", "val/gauc", 0.0, 0.05, False)


def test_the_experiment_is_mlflows_and_no_config_group():
    assert promote_config("experiment=amazon").experiment_name == "amazon"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["rollback=true", "run_id=abc"], r"run_id = abc: rollback=true chooses no run; leave it out"),
        (["history=true", "experiment=abc"], r"experiment = abc: history=true chooses no run"),
        (["history=true", "rollback=true"], r"rollback = True and history = True: ask for one at a time"),
        (["name=a/b"], r"name = 'a/b': must be a registered model's name; allowed: letters, digits"),
        (["metric=val/log_loss"], r"metric = 'val/log_loss': must be 'val/auc', 'val/gauc', 'val/list_gauc', "),
        (["alpha=0.7"], r"alpha = 0.7: must be less than 0.5"),
        (["min_efect=0.1"], r"min_efect: unknown key; did you mean min_effect\?"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        promote_config(*overrides)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Three finished runs; with ``min_effect=-0.9`` each of them may be promoted over any other."""
    home = tmp_path_factory.mktemp("promote") / "home"
    for seed in range(3):
        train(small_config(home, "model=base", "trainer.max_epochs=1", f"seed={seed}"))
    return home


def registry(home, name):
    return Registry(open_store(TrackingConfig(), home), name)


def run_ids(home):
    store = open_store(TrackingConfig(experiment_name="synthetic"), home)
    return [run.info.run_id for run in store.client.search_runs([store.experiment_id])]


def started(home, *arguments, prefix=()):
    command = [sys.executable, *prefix, SCRIPT, f"home={home}", "min_effect=-0.9", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=home.parent)


def ended(process):
    out, err = process.communicate(timeout=240)
    print(out, err)
    return process.returncode, out, err


def promote(home, *arguments, prefix=()):
    return ended(started(home, *arguments, prefix=prefix))


def check_chain(home, name):
    """Each move starts where the one before it ended, the aliases are where the last one ended, and no claim is left."""
    found = registry(home, name)
    moves = moves_of(found.versions())
    assert [move.number for move in moves] == list(range(1, len(moves) + 1))
    assert all(earlier.successor == later.champion for earlier, later in itertools.pairwise(moves))
    assert (found.alias(CHAMPION), found.alias(PREVIOUS)) == (moves[-1].successor, moves[-1].champion)
    assert [model.name for model in found.store.client.search_registered_models(f"name LIKE '{name}%'")] == [name]
    return moves


@pytest.mark.parametrize(("openings", "words"), [(Openings(1, 1), "1 time, by 1 run"), (Openings(1200, 30), "1,200 times, by 30 runs")])
def test_the_openings_of_the_test_split_are_counted(openings, words):
    scored = SimpleNamespace(metrics={"gauc": 0.7})
    evaluation = SimpleNamespace(scored=scored, intervals={"gauc": ConfidenceInterval(0.6, 0.8)}, openings=openings)
    out = io.StringIO()
    _print_test(Console(file=out, width=200), PromoteConfig(name="ctr", home=".", tracking=TrackingConfig()), evaluation)
    assert out.getvalue() == f"on the test split: GAUC 0.7000, 95 % interval [0.6000, 0.8000]; it has been opened {words}\n"


@pytest.mark.slow
def test_exit_codes_and_what_is_printed(home):
    def printed(*overrides):
        out = io.StringIO()
        main(promote_config(f"home={home}", "name=codes", *overrides), Console(file=out, width=200))
        return out.getvalue()

    out = printed("experiment=synthetic")
    for word in ("codes version 1 is the first champion", "clickflow serve name=codes"):
        assert word in out
    assert "rollback=true" not in out
    other = next(run_id for run_id in run_ids(home) if run_id not in out)
    code, out, _ = promote(home, "name=codes", f"run_id={other}", "min_effect=0.9")
    assert code == 3
    assert "not better: codes version 2: GAUC" in out
    assert "the lower end must lie above +0.9000" in out
    out = printed(f"run_id={other}", "min_effect=-0.9")
    assert "promoted: codes version 2: GAUC" in out
    assert f"clickflow promote name=codes rollback=true home={home}" in out
    assert "codes version 2 -> version 1, the champion again" in printed("rollback=true")
    with pytest.raises(PromotionError, match="name = codes: version 1 was the first champion"):
        printed("rollback=true")
    out = printed("history=true")
    for word in ("not better", "1 → 2", "rolled back", "2 → 1", other[:12]):
        assert word in out


@pytest.mark.slow
def test_promotions_at_the_same_time_are_all_done_and_none_is_lost(home):
    ids = run_ids(home)
    processes = [started(home, "name=race", f"run_id={run_id}") for run_id in [*ids, ids[0]]]  # one run twice
    answers = [ended(process) for process in processes]
    assert [code for code, _, _ in answers] == [0] * 4, [err for _, _, err in answers]
    moves = check_chain(home, "race")
    promoted = [move.details["run_id"] for move in moves]
    assert set(promoted) == set(ids)
    assert len(registry(home, "race").versions()) == 3
    assert len(log_of(registry(home, "race").versions())) == len(moves)


@pytest.mark.slow
def test_a_promotion_that_is_killed_is_finished_by_the_same_command(home):
    """``previous`` is set by then, and ``champion`` is not. The other steps are in tests/tracking."""
    name, (first, second, _) = "killed", run_ids(home)
    assert promote(home, f"name={name}", f"run_id={first}")[0] == 0
    arguments = [f"name={name}", f"run_id={second}"]
    assert promote(home, *arguments, prefix=["-c", KILLED_AT, "set_alias", "2"])[0] == -9
    found = registry(home, name)
    assert (found.alias(PREVIOUS), found.alias(CHAMPION)) == (1, 1)
    code, out, _ = promote(home, *arguments)
    assert code == 0
    assert f"{name} version 2 is already the champion" in out
    assert [move.version for move in check_chain(home, name)] == [1, 2]
    assert found.alias(CHALLENGER) is None
