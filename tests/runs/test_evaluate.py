"""Evaluation: the test split, once the training is done, on the run that trained."""

import re
import shutil
from pathlib import Path

import polars as pl
import pytest
import torch
from mlflow import MlflowClient
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score
from tests.runs.small import small_config

from clickflow.config import validate
from clickflow.data.dataset import PreparedDataset
from clickflow.errors import ConfigError, DataError, TrackingError, TrainingError
from clickflow.metrics.intervals import intervals
from clickflow.runs import evaluate as evaluate_module
from clickflow.runs import split_report
from clickflow.runs.config import EvaluateConfig
from clickflow.runs.evaluate import TIMES_OPENED, Openings, evaluate
from clickflow.runs.train import train
from clickflow.tracking.config import TrackingConfig

pytestmark = pytest.mark.slow


def evaluation(home, run_id=None, **more):
    return evaluate(EvaluateConfig(run_id=run_id, home=home, tracking=TrackingConfig(), **more))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Not the session's: evaluation adds to a run. Whatever a test changes it puts back."""
    return train(small_config(tmp_path_factory.mktemp("evaluated") / "home", "trainer.max_epochs=1"))


@pytest.fixture(scope="module")
def client(trained):
    return MlflowClient(f"sqlite:///{trained.config.home}/mlflow.db")


@pytest.fixture
def evaluated(trained, client):
    """The run's own evaluation, whatever the test before has left on the run."""
    done = evaluation(trained.config.home, trained.run_id)
    assert client.get_run(trained.run_id).data.tags["evaluation.status"] == "FINISHED"
    return done


@pytest.fixture
def checkpoint(trained, client):
    """The run's best checkpoint, which the test may change."""
    path = Path(client.get_run(trained.run_id).info.artifact_uri.removeprefix("file://")) / "checkpoints" / "best.ckpt"
    whole = path.read_bytes()
    yield path
    path.write_bytes(whole)


@pytest.fixture
def altered(trained, client):
    """Change tags or the status of the run for one test; a tag set to None is deleted."""
    run = client.get_run(trained.run_id)

    def alter(status=None, **tags):
        if status is not None:
            client.set_terminated(trained.run_id, status)
        for key, value in tags.items():
            name = key.replace("__", ".")
            client.delete_tag(trained.run_id, name) if value is None else client.set_tag(trained.run_id, name, value)
        changed.update(name.replace("__", ".") for name in tags)

    changed = set()
    yield alter
    for name in changed:
        client.set_tag(trained.run_id, name, run.data.tags[name])
    client.set_terminated(trained.run_id, run.info.status, run.info.end_time)


def times_opened(client, run_id):
    return [point.value for point in client.get_metric_history(run_id, TIMES_OPENED)]


def test_test_metrics_are_those_of_the_logged_predictions(trained, client, evaluated, tmp_path):
    run = client.get_run(trained.run_id)
    rows = pl.read_parquet(client.download_artifacts(trained.run_id, "predictions/test.parquet", str(tmp_path)))
    assert evaluated.run_id == trained.run_id
    assert evaluated.scored.metrics["auc"] == pytest.approx(roc_auc_score(rows["label"], rows["preds"]), abs=1e-6)
    assert run.data.metrics["test/pr_auc"] == pytest.approx(average_precision_score(rows["label"], rows["preds"]), abs=1e-6)
    assert run.data.metrics["test/log_loss"] == pytest.approx(log_loss(rows["label"], rows["preds"]), abs=1e-6)
    assert run.data.metrics["test/oracle_auc"] > run.data.metrics["test/auc"]
    assert len(client.get_metric_history(trained.run_id, "test/roc/tpr")) == 1000
    assert run.info.status == "FINISHED"


def test_the_intervals_are_metrics_beside_their_metric_and_stand_in_the_description(trained, client, evaluated):
    run = client.get_run(trained.run_id)
    assert evaluated.intervals == intervals(*evaluated.scored.rows)
    for name, (low, high) in evaluated.intervals.items():
        assert run.data.metrics[f"test/{name}_low"] == low
        assert run.data.metrics[f"test/{name}_high"] == high
        assert low < run.data.metrics[f"test/{name}"] < high
    low, high = evaluated.intervals["gauc"]
    description = run.data.tags["mlflow.note.content"]
    line = f"| gauc | {evaluated.scored.metrics['gauc']:.4f} | [{low:.4f}, {high:.4f}] |"
    assert line in re.sub(" +", " ", description)
    assert description.startswith("**din** on **synthetic**")  # what the training wrote is still there


def test_the_slices_are_those_of_the_logged_predictions(trained, client, evaluated, tmp_path):
    rows = pl.read_parquet(client.download_artifacts(trained.run_id, "predictions/test.parquet", str(tmp_path)))
    logged = pl.read_csv(client.download_artifacts(trained.run_id, "slices/test.csv", str(tmp_path)), schema_overrides={"value": pl.String})
    assert logged.rows() == evaluated.slices.rows()
    dataset = PreparedDataset.open(Path(client.get_run(trained.run_id).data.tags["dataset.folder"]))
    split = dataset.split("test")
    place = [field.name for field in dataset.schema.item_fields].index("category")
    index = split.items.index[place][torch.from_numpy(split.rows["item"].astype(int))].numpy()
    category = dataset.vocabulary("category")["raw"].gather(index - 1).cast(pl.String)
    table = {row["value"]: row for row in logged.filter(pl.col("slice") == "category").iter_rows(named=True)}
    for (value,), group in rows.with_columns(category=category).group_by("category"):
        assert table[value]["rows"] == len(group)
        assert table[value]["auc"] == pytest.approx(roc_auc_score(group["label"], group["preds"]), abs=1e-6)
    files = {file.path for file in client.list_artifacts(trained.run_id, "slices")}
    assert files == {"slices/test.csv", "slices/test.md"}
    assert "figures/test/slices.png" in {file.path for file in client.list_artifacts(trained.run_id, "figures/test")}


def test_a_registered_model_gives_the_same_as_the_run_that_trained_it_and_goes_onto_that_run(trained, client, evaluated, monkeypatch):
    location = client.get_logged_model(trained.model_uri.removeprefix("models:/")).artifact_location
    client.create_registered_model("ctr")
    version = client.create_model_version("ctr", location, trained.run_id).version
    client.set_registered_model_alias("ctr", "champion", version)
    for uri in (trained.model_uri, f"models:/ctr/{version}", "models:/ctr@champion"):
        # Its own weights and nothing of the run's checkpoint.
        monkeypatch.setattr(evaluate_module, "read_best_model", lambda *_: pytest.fail("the checkpoint was read"))
        found = evaluation(trained.config.home, model=uri)
        assert found.run_id == trained.run_id
        assert found.scored.metrics == evaluated.scored.metrics
        assert torch.equal(found.scored.rows.preds, evaluated.scored.rows.preds)
        assert found.intervals == evaluated.intervals


def test_a_model_with_other_weights_or_fields_is_measured_by_what_it_is(trained, evaluated, monkeypatch):
    bundle = evaluate_module.read_bundle

    def halved(store, uri):
        found = bundle(store, uri)
        found.state_dict.update({name: tensor / 2 for name, tensor in found.state_dict.items()})
        return found

    monkeypatch.setattr(evaluate_module, "read_bundle", halved)
    found = evaluation(trained.config.home, model=trained.model_uri)
    assert not torch.equal(found.scored.rows.preds, evaluated.scored.rows.preds)

    def without_fields(store, uri):
        found = bundle(store, uri)
        object.__setattr__(found, "schema", found.schema.model_copy(update={"categorical": found.schema.categorical[:1]}))
        return found

    monkeypatch.setattr(evaluate_module, "read_bundle", without_fields)
    with pytest.raises(TrackingError, match=r"model models:/m-\w+: its fields are not those of the data set of run"):
        evaluation(trained.config.home, model=trained.model_uri)


def test_each_opening_is_counted_on_the_run_and_over_all_runs_on_its_data(trained, client, evaluated, monkeypatch):
    before = len(times_opened(client, trained.run_id))
    other = client.create_run(client.create_experiment("elsewhere"))
    fingerprint = client.get_run(trained.run_id).data.tags["dataset.fingerprint"]
    client.set_tag(other.info.run_id, "dataset.fingerprint", fingerprint)
    client.log_metric(other.info.run_id, TIMES_OPENED, 7)
    client.delete_run(other.info.run_id)  # what was seen was seen

    def fail(*_):
        # The opening is in the store before there is any score.
        assert times_opened(client, trained.run_id)[-1] == before + 1
        raise DataError("a disk that fails")

    monkeypatch.setattr(evaluate_module, "score", fail)
    with pytest.raises(DataError, match="a disk that fails"):
        evaluation(trained.config.home, trained.run_id)
    monkeypatch.undo()

    found = evaluation(trained.config.home, trained.run_id)
    assert found.times_opened == before + 2
    assert times_opened(client, trained.run_id) == [float(number + 1) for number in range(before + 2)]
    assert found.openings == Openings(times=before + 2 + 7, runs=2)


def test_evaluating_again_replaces_what_was_there(trained, client, evaluated, tmp_path):
    client.log_metric(trained.run_id, "test/auc_low", 0.0, step=0)
    again = evaluation(trained.config.home, trained.run_id, slice_fields=())
    run = client.get_run(trained.run_id)
    assert run.data.metrics["test/auc_low"] == again.intervals["auc"].low
    assert len(client.get_metric_history(trained.run_id, "test/roc/tpr")) == 1000
    assert len(re.findall(r"^\| test +\| +value \|", run.data.tags["mlflow.note.content"], flags=re.MULTILINE)) == 1
    assert "category" not in Path(client.download_artifacts(trained.run_id, "slices/test.md", str(tmp_path))).read_text()
    assert set(again.slices["slice"]) == {"all rows", "history length", "item count in train"}


def test_figures_are_drawn_again_only_where_they_are_missing_or_of_other_scores(trained, client, evaluated, altered, monkeypatch):
    drawn = []
    draw = split_report.roc_figure
    monkeypatch.setattr(split_report, "roc_figure", lambda curves, aucs: drawn.append(aucs["test"]) or draw(curves, aucs))
    auc, folder = evaluated.scored.metrics["auc"], Path(client.get_run(trained.run_id).info.artifact_uri.removeprefix("file://"))

    evaluation(trained.config.home, trained.run_id)
    assert drawn == []

    client.log_metric(trained.run_id, "test/log_loss", 0.1, step=0)  # of another model's evaluation
    evaluation(trained.config.home, trained.run_id)
    assert drawn == [auc]

    altered(evaluation__status="FAILED")  # it may have ended between the metrics and the figures
    evaluation(trained.config.home, trained.run_id)
    assert drawn == [auc] * 2

    (folder / "figures/test/roc.png").rename(folder / "roc.png")
    evaluation(trained.config.home, trained.run_id)
    assert drawn == [auc] * 3
    (folder / "roc.png").rename(folder / "figures/test/roc.png")


def test_a_field_to_slice_by_that_is_none_is_refused_before_the_test_split_is_opened(trained, client):
    before = times_opened(client, trained.run_id)
    with pytest.raises(ConfigError, match=r"slice_fields = categry: no field of data set synthetic; did you mean category\?"):
        evaluation(trained.config.home, trained.run_id, slice_fields=("categry",))
    assert times_opened(client, trained.run_id) == before


def test_an_unknown_run_or_model_is_refused(trained):
    with pytest.raises(TrackingError, match="run_id = 0123: no such run"):
        evaluation(trained.config.home, "0123")
    with pytest.raises(TrackingError, match="model models:/nosuch@champion: not in sqlite"):
        evaluation(trained.config.home, model="models:/nosuch@champion")


def test_data_prepared_again_must_be_what_the_run_saw(trained, client, evaluated, altered):
    home = trained.config.home
    shutil.rmtree(home / "datasets")
    assert evaluation(home, trained.run_id).scored.metrics == evaluated.scored.metrics  # prepared again, the same
    altered(dataset__fingerprint="0" * 64)
    with pytest.raises(DataError, match=r"was trained on 000000000000; the source has changed since"):
        evaluation(home, trained.run_id)
    run = client.get_run(trained.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["evaluation.status"] == "FAILED"


def test_a_run_that_did_not_finish_is_refused(trained, altered):
    altered(status="FAILED")
    with pytest.raises(TrackingError, match="its status is FAILED; only a FINISHED run can be evaluated"):
        evaluation(trained.config.home, trained.run_id)


@pytest.mark.parametrize("damage", [lambda whole: whole[: len(whole) // 2], lambda whole: whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]])
def test_a_checkpoint_that_is_not_what_the_training_wrote_is_refused(trained, client, checkpoint, damage):
    opened, tags = times_opened(client, trained.run_id), client.get_run(trained.run_id).data.tags
    checkpoint.write_bytes(damage(checkpoint.read_bytes()))
    written = tags["checkpoints.best.sha256"][:12]
    expected = rf"run {trained.run_id}, checkpoints/best\.ckpt: SHA-256 = \w{{12}}, but the training wrote {written}; .*restore it"
    with pytest.raises(TrackingError, match=expected):
        evaluation(trained.config.home, trained.run_id)
    assert times_opened(client, trained.run_id) == opened
    assert "checkpoints.last.sha256" in tags


def test_a_run_from_before_there_were_checksums_is_evaluated_and_its_damage_told_by_what_loads_it(trained, evaluated, checkpoint, altered):
    altered(checkpoints__best__sha256=None)
    assert evaluation(trained.config.home, trained.run_id).scored.metrics == evaluated.scored.metrics
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(TrainingError, match=r"checkpoint best\.ckpt: cannot be loaded"):
        evaluation(trained.config.home, trained.run_id)


def test_a_deleted_checkpoint_is_told_and_the_logged_model_can_be_evaluated_instead(trained, evaluated, checkpoint):
    checkpoint.unlink()
    with pytest.raises(
        TrackingError, match=r"artifact checkpoints/best\.ckpt cannot be fetched .*evaluate the logged model: model=models:/m-"
    ):
        evaluation(trained.config.home, trained.run_id)
    assert evaluation(trained.config.home, model=trained.model_uri).scored.metrics == evaluated.scored.metrics


@pytest.mark.parametrize("values", [{}, {"run_id": "1", "model": "models:/m-1"}], ids=["neither", "both"])
def test_one_thing_is_evaluated(tmp_path, values):
    with pytest.raises(
        ConfigError, match=r"run_id and model: (neither is|both are) given; set one of run_id=RUN and model=models:/NAME@ALIAS"
    ):
        validate(EvaluateConfig, {"home": tmp_path, "tracking": {}, **values})


def test_a_model_is_named_by_its_uri(tmp_path):
    with pytest.raises(ConfigError, match=r"model = 'ctr@champion': "):
        validate(EvaluateConfig, {"home": tmp_path, "tracking": {}, "model": "ctr@champion"})
