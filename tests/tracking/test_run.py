import logging

import numpy as np
import pytest
import yaml
from matplotlib.figure import Figure

from clickflow.errors import TrackingError
from clickflow.tracking.contents import fetch_artifact
from clickflow.tracking.lifecycle import open_run
from clickflow.tracking.search import read_run

PNG_MAGIC = b"\x89PNG"


def found(run):
    return read_run(run.store, run.id)


def history(run, key):
    return run.store.client.get_metric_history(run.id, key)


def test_buffered_metrics_are_complete_and_in_order_after_the_run(store):
    with open_run(store, name="metrics", params={}, tags={}, log_system_metrics=False) as run:
        for step in range(2500):
            run.log_metrics({"train/loss": 1 / (step + 1)}, step)
    logged = history(run, "train/loss")
    assert [(metric.step, metric.value) for metric in logged] == [(step, 1 / (step + 1)) for step in range(2500)]


def test_flush_makes_metrics_readable_while_the_run_goes_on(run):
    run.log_metrics({"val/auc": 0.75}, step=3)
    run.flush()
    assert found(run).metrics == {"val/auc": 0.75}
    assert run.status == "RUNNING"


def test_metrics_that_are_not_finite_are_left_out_named_in_a_tag_and_warned_of_once(run, caplog):
    with caplog.at_level(logging.WARNING):
        run.log_metrics({"val/gauc": float("nan"), "val/auc": 0.5}, step=1)
        run.log_metrics({"val/gauc": float("nan"), "train/loss": float("inf")}, step=2)
    run.flush()
    assert found(run).metrics == {"val/auc": 0.5}
    assert found(run).tags["non_finite_metrics"] == "val/gauc = nan at step 1; train/loss = inf at step 2"
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "metric val/gauc = nan at step 1",
        "metric train/loss = inf at step 2",
    ]


def test_curve_is_one_metric_with_its_grid_as_steps(run):
    steps = np.arange(0, 2002, 2)
    run.log_curves({"roc/tpr": (steps, np.sqrt(steps / 2000))})
    logged = history(run, "roc/tpr")
    assert [metric.step for metric in logged] == steps.tolist()
    np.testing.assert_allclose([metric.value for metric in logged], np.sqrt(steps / 2000))


def test_curve_logged_again_keeps_one_point_at_each_step(run):
    for _ in range(2):
        run.log_curves({"roc/tpr": (np.arange(3), np.array([0.0, 0.5, 1.0]))})
    assert [(point.step, point.value) for point in history(run, "roc/tpr")] == [(0, 0.0), (1, 0.5), (2, 1.0)]


def test_curve_needs_a_value_for_every_step(run):
    with pytest.raises(ValueError, match="zip"):
        run.log_curves({"roc/tpr": (np.arange(3), np.arange(2))})


def test_params_longer_than_250_characters_and_more_than_100_are_kept_whole(run):
    params = {f"model.p{i}": i for i in range(150)} | {"data.long": "x" * 6000, "data.empty": "", "data.none": None, "data.list": [80, 40]}
    run.log_params(params)
    assert run.store.client.get_run(run.id).data.params == {key: str(value) for key, value in params.items()}


def test_param_that_mlflow_cannot_take_is_cut_visibly_and_its_name_made_plain(run):
    run.log_params({"data.columns.prix (€)#": "y" * 7000})
    assert run.store.client.get_run(run.id).data.params == {"data.columns.prix ____": "y" * 5993 + " …[cut]"}


def test_changing_a_param_is_refused(run):
    run.log_params({"seed": 1})
    run.log_params({"seed": 1})
    with pytest.raises(TrackingError, match=rf"^run {run.id}: params failed \(MlflowException: .*seed"):
        run.log_params({"seed": 2})


def test_tags_and_description_can_be_set_again(run):
    run.set_tags({"model": "din", "protocol": "next_item"})
    run.set_tags({"model": "base"})
    run.set_description("**din** on beauty")
    assert {"model": "base", "protocol": "next_item", "mlflow.note.content": "**din** on beauty"}.items() <= found(run).tags.items()


def test_artifacts_come_back_as_they_were_logged(run, tmp_path):
    (tmp_path / "points.csv").write_text("a,b\n1,2\n")
    run.log_file(tmp_path / "points.csv", "tables")
    run.log_text("hello\n", "notes/a.txt")
    run.log_dict({"model": {"name": "din", "units": [80, 40]}}, "config.yaml")
    points, notes, config = (
        fetch_artifact(run.store, run.id, name, tmp_path / "to") for name in ("tables/points.csv", "notes", "config.yaml")
    )
    assert points.read_text() == "a,b\n1,2\n"
    assert notes.joinpath("a.txt").read_text() == "hello\n"
    assert yaml.safe_load(config.read_text()) == {"model": {"name": "din", "units": [80, 40]}}


def test_figure_becomes_a_png_in_its_folder(run, tmp_path):
    figure = Figure()
    figure.subplots().plot([0, 1], [0, 1])
    run.log_figure(figure, "figures/val/roc.png")
    assert fetch_artifact(run.store, run.id, "figures/val/roc.png", tmp_path).read_bytes().startswith(PNG_MAGIC)


def test_a_title_in_a_script_that_the_font_lacks_gives_no_warning(run, recwarn):
    figure = Figure()
    figure.suptitle("寿司")
    run.log_figure(figure, "figures/val/titles.png")
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


def test_missing_artifact_is_named_with_the_run(run, tmp_path):
    with pytest.raises(TrackingError, match=rf"^run {run.id}: artifact checkpoints/best cannot be fetched"):
        fetch_artifact(run.store, run.id, "checkpoints/best", tmp_path)


def test_file_that_does_not_exist_cannot_be_logged(run, tmp_path):
    with pytest.raises(TrackingError, match=r"artifact nothing.txt failed"):
        run.log_file(tmp_path / "nothing.txt")


def test_dataset_shows_as_input_of_the_run_with_digest_profile_and_context(run):
    run.log_dataset("amazon_beauty", "ab12" * 16, "reviews_Beauty_5.json.gz", {"rows": 10, "users": 3}, "training")
    (logged,) = run.store.client.get_run(run.id).inputs.dataset_inputs
    assert (logged.dataset.name, logged.dataset.digest) == ("amazon_beauty", "ab12" * 9)
    assert logged.dataset.profile == '{"rows": 10, "users": 3}'
    assert logged.dataset.source == '{"uri": "reviews_Beauty_5.json.gz"}'
    assert [(tag.key, tag.value) for tag in logged.tags] == [("mlflow.data.context", "training")]


def test_url_leads_to_the_runs_page(run):
    assert run.url == f"http://127.0.0.1:5000/#/experiments/{run.store.experiment_id}/runs/{run.id}"


def test_metrics_are_copied_up_to_a_step_with_their_points_as_they_are(store, run):
    for step in range(4):
        run.log_metrics({"val/auc": step / 10, "system/cpu": 1.0}, step)
    run.flush()
    with open_run(store, name="resumed", params={}, tags={}, log_system_metrics=False) as resumed:
        resumed.copy_metrics(run.id, ("val/", "train/"), up_to_step=2)
    points = {(point.step, point.value, point.timestamp) for point in store.client.get_metric_history(run.id, "val/auc")}
    copied = {(point.step, point.value, point.timestamp) for point in store.client.get_metric_history(resumed.id, "val/auc")}
    assert copied == {point for point in points if point[0] <= 2}
    assert "system/cpu" not in found(resumed).metrics
