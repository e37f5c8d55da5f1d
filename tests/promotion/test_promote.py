"""Promotions and rollbacks from runs to aliases, in one process."""

import re
import shutil
from pathlib import Path

import pytest

from clickflow.data.predictions import read_predictions
from clickflow.errors import PromotionError, TrackingError
from clickflow.promotion.decisions import PROMOTED, REFUSED, log_of
from clickflow.promotion.promote import ALREADY, promote
from clickflow.promotion.registry import CHALLENGER, CHAMPION, PREVIOUS
from clickflow.promotion.rollback import roll_back
from clickflow.tracking.contents import fetch_artifact

pytestmark = pytest.mark.slow

ANY, NONE = {"min_effect": -0.9}, {"min_effect": 0.9}


def aliases(registry):
    found = {alias: registry.alias(alias) for alias in (CHAMPION, PREVIOUS, CHALLENGER)}
    return {alias: number for alias, number in found.items() if number is not None}


def test_promote_refuse_promote_and_roll_back(trained, name, tmp_path):
    first, second = (run.run_id for run in trained.runs)
    registry = trained.registry(name)

    outcome = promote(trained.config(name, run_id=first))
    assert (outcome.kind, outcome.version, outcome.champion, outcome.verdict) == (PROMOTED, 1, None, None)
    assert aliases(registry) == {CHAMPION: 1}

    again = promote(trained.config(name, run_id=first))
    assert (again.kind, again.version) == (ALREADY, 1)

    outcome = promote(trained.config(name, run_id=second, **NONE))
    assert (outcome.kind, outcome.version, outcome.champion) == (REFUSED, 2, 1)
    assert aliases(registry) == {CHAMPION: 1, CHALLENGER: 2}
    assert registry.versions()[1].tags["gate"].startswith("not passed; GAUC ")

    outcome = promote(trained.config(name, run_id=second, **ANY))
    assert (outcome.kind, outcome.version) == (PROMOTED, 2)
    assert aliases(registry) == {CHAMPION: 2, PREVIOUS: 1}

    done = roll_back(trained.config(name, rollback=True))
    assert (done.taken_back, done.champion) == (2, 1)
    assert aliases(registry) == {CHAMPION: 1}
    with pytest.raises(PromotionError, match="version 1 was the first champion: nothing to go back to"):
        roll_back(trained.config(name, rollback=True))

    # The better run on validation was taken back, so it is not chosen by itself.
    assert promote(trained.config(name)).challenger.run.run_id == first

    kinds = [(one.kind, one.version) for one in log_of(registry.versions())]
    assert kinds == [("promoted", 1), ("not better", 2), ("promoted", 2), ("rolled back", 2)]
    check_evidence(trained, registry, second, tmp_path)


def check_evidence(trained, registry, run_id, scratch):
    version = registry.versions()[1]
    run = trained.client.get_run(run_id)
    auc, low, high = (run.data.metrics[f"test/{metric}"] for metric in ("auc", "auc_low", "auc_high"))
    assert version.tags["test/auc"] == f"{auc:.4f} [{low:.4f}, {high:.4f}]"
    assert version.tags["val/gauc"] == f"{run.data.metrics['best/gauc']:.4f}"
    assert version.tags["dataset.fingerprint"] == run.data.tags["dataset.fingerprint"]
    assert version.tags["decision"].startswith("rolled back 2")
    text = trained.client.get_model_version(registry.name, "2").description
    assert re.search(rf"^\| AUC +\| +{auc:.4f} \[{low:.4f}, {high:.4f}\] \|", text, flags=re.MULTILINE)
    card = fetch_artifact(trained.store, run_id, "model_card.md", scratch).read_text()
    for word in (f"# {registry.name}, version 2", "## Gate", "history length", "trained by", "max_epochs: 2", version.tags["gate"]):
        assert word in card, word


def test_a_dry_run_answers_and_leaves_the_registry_as_it_is(trained, name):
    first, second = (run.run_id for run in trained.runs)
    outcome = promote(trained.config(name, run_id=first, dry_run=True))
    assert (outcome.kind, outcome.version) == (PROMOTED, None)
    assert trained.registry(name).versions() == []

    promote(trained.config(name, run_id=first))
    promote(trained.config(name, run_id=second, **ANY))
    before = trained.registry(name).versions()
    assert promote(trained.config(name, run_id=first, dry_run=True, **NONE)).kind == REFUSED
    assert roll_back(trained.config(name, rollback=True, dry_run=True)).champion == 1
    assert trained.registry(name).versions() == before
    assert aliases(trained.registry(name)) == {CHAMPION: 2, PREVIOUS: 1}


def test_what_cannot_be_promoted_leaves_the_registry_as_it_is(trained, name):
    first, second = (run.run_id for run in trained.runs)
    promote(trained.config(name, run_id=first))
    before = trained.registry(name).versions()

    with pytest.raises(PromotionError, match=r"was trained on data .*, the champion models:/.*/1 on .*; only models of the same data"):
        promote(trained.config(name, run_id=trained.other_data.run_id))

    files = Path(
        trained.client.get_logged_model(trained.runs[1].model_uri.removeprefix("models:/")).artifact_location.removeprefix("file://")
    )
    weights = next(files.rglob("weights.safetensors"))
    whole = weights.read_bytes()
    try:
        weights.write_bytes(whole[:-4] + b"\0\0\0\1")
        with pytest.raises(TrackingError, match=r"cannot be loaded .*weights.safetensors: does not match its checksum"):
            promote(trained.config(name, run_id=second))
    finally:
        weights.write_bytes(whole)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clickflow.promotion.checks.read_predictions", lambda path: [column + 3e-5 for column in read_predictions(path)])
        with pytest.raises(
            PromotionError,
            match=r"predicts other probabilities than its run .* did \(by up to 3e-05, on 200 validation rows; 1e-05 is allowed\)",
        ):
            promote(trained.config(name, run_id=second))

    shutil.move(files, files.with_name("gone"))
    try:
        with pytest.raises(TrackingError, match=f"model {trained.runs[1].model_uri}: cannot be loaded"):
            promote(trained.config(name, run_id=second))
    finally:
        shutil.move(files.with_name("gone"), files)

    assert trained.registry(name).versions() == before
    assert aliases(trained.registry(name)) == {CHAMPION: 1}


def test_a_champion_that_changed_meanwhile_is_what_the_challenger_is_held_against(trained, name):
    """Somebody else promotes while this one evaluates."""
    first, second = (run.run_id for run in trained.runs)
    stages = []

    def progress(stage):
        stages.append(stage)
        if stage.startswith("evaluating it") and len(stages) < 5:
            promote(trained.config(name, run_id=first))

    outcome = promote(trained.config(name, run_id=second, **ANY), progress)
    assert (outcome.kind, outcome.champion) == (PROMOTED, 1)
    assert "the champion changed meanwhile; comparing with the new one" in stages
    assert aliases(trained.registry(name)) == {CHAMPION: 2, PREVIOUS: 1}


def test_a_rollback_checks_the_way_back_first(trained, name):
    with pytest.raises(PromotionError, match=rf"name = {name}: has no champion to roll back \(no model of this name is registered\)"):
        roll_back(trained.config(name, rollback=True))
    first, second = (run.run_id for run in trained.runs)
    promote(trained.config(name, run_id=first))
    promote(trained.config(name, run_id=second, **ANY))
    registry = trained.registry(name)

    files = Path(registry.versions()[0].source.removeprefix("file://"))
    shutil.move(files, files.with_name("gone"))
    with pytest.raises(TrackingError, match=f"model models:/{name}/1: cannot be loaded"):
        roll_back(trained.config(name, rollback=True))
    shutil.move(files.with_name("gone"), files)
    assert aliases(registry) == {CHAMPION: 2, PREVIOUS: 1}

    registry.set_alias(CHAMPION, 1)  # by hand
    trained.client.delete_model_version_tag(name, "1", "decision.0001")
    with pytest.raises(PromotionError, match="version 1 was made champion by hand, so the log does not say what it replaced"):
        roll_back(trained.config(name, rollback=True))
    registry.set_alias(CHAMPION, 2)
    trained.client.delete_model_version(name, "1")
    with pytest.raises(PromotionError, match="version 1, which version 2 replaced, was deleted; promote its run again"):
        roll_back(trained.config(name, rollback=True))
