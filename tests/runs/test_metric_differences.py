"""Whether the metrics of two runs agree, point by point."""

import csv
import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickflow.runs.metric_differences import Difference, as_csv, compare_histories, first_difference, is_compared
from clickflow.runs.reproduce import DEFAULT_TOLERANCE


def history(*points):
    steps, values = zip(*points, strict=True) if points else ((), ())
    return np.array(steps, dtype=np.float64), np.array(values, dtype=np.float64)


OLD = {
    "val/auc": history((10, 0.7), (20, 0.8)),
    "train/loss": history((1, 0.9), (11, 0.5)),
    "best/auc": history((0, 0.8)),
    "roc/tpr": history((0, 0.1), (1, 0.2)),
    "test/auc": history((0, 0.75)),
}


def test_the_same_histories_agree_in_every_point():
    metrics = compare_histories(OLD, OLD)
    assert first_difference(metrics, 0.0) is None
    assert {metric.metric: metric.num_points for metric in metrics} == {name: len(steps) for name, (steps, _) in OLD.items()}
    assert all(metric.largest == 0 for metric in metrics)


def test_the_last_bit_of_a_value_is_a_difference():
    new = OLD | {"val/auc": history((10, 0.7), (20, np.nextafter(0.8, 1)))}
    assert first_difference(compare_histories(OLD, new), 0.0) == Difference("val/auc", 20, 0.8, np.nextafter(0.8, 1))
    assert first_difference(compare_histories(OLD, new), 1e-9) is None


@pytest.mark.parametrize(
    ("changed", "first"),
    [
        ({"val/auc": history((10, 0.7), (20, 0.9)), "train/loss": history((1, 0.9), (11, 0.6))}, "train/loss"),  # the earlier step
        ({"roc/tpr": history((0, 0.0), (1, 0.2)), "val/auc": history((10, 0.7), (20, 0.9))}, "val/auc"),  # training before curves
        ({"test/auc": history((0, 0.1)), "best/auc": history((0, 0.1))}, "best/auc"),
    ],
)
def test_the_first_difference_is_where_the_runs_parted(changed, first):
    assert first_difference(compare_histories(OLD, OLD | changed), 0.0).metric == first


@pytest.mark.parametrize(
    ("points", "step", "old", "new"),
    [
        (((10, 0.7),), 20, 0.8, None),  # it stopped earlier
        (((10, 0.7), (20, 0.8), (30, 0.8)), 30, None, 0.8),  # it went on longer
        ((), 10, 0.7, None),  # it was not logged
    ],
)
def test_a_point_that_one_run_lacks_is_a_difference_that_no_tolerance_covers(points, step, old, new):
    metrics = compare_histories(OLD, OLD | {"val/auc": history(*points)})
    first = first_difference(metrics, 1e9)
    assert (first.metric, first.step, first.old, first.new, first.size) == ("val/auc", step, old, new, math.inf)


def test_a_metric_that_the_new_run_does_not_log_at_all_is_a_difference():
    assert first_difference(compare_histories(OLD, {name: OLD[name] for name in OLD if name != "best/auc"}), 1.0).metric == "best/auc"


def test_a_metric_that_only_newer_code_logs_is_none():
    assert first_difference(compare_histories(OLD, OLD | {"val/new": history((10, 1.0))}), 0.0) is None


def test_of_a_step_logged_twice_the_last_value_counts():
    twice = OLD | {"test/auc": history((0, 0.5), (0, 0.75))}
    assert first_difference(compare_histories(twice, OLD), 0.0) is None


@pytest.mark.parametrize(("old", "new", "size"), [(0.5, 0.4, 0.1), (200.0, 190.0, 0.05), (-200.0, -190.0, 0.05), (0.0, 0.1, 0.1)])
def test_a_difference_is_absolute_for_small_values_and_relative_for_large_ones(old, new, size):
    assert Difference("m", 0, old, new).size == pytest.approx(size)


def test_timings_and_the_machines_own_metrics_are_not_compared():
    logged = [
        "system/cpu",
        "train/rows_per_second",
        "rows_per_second",
        "train_seconds",
        "latency_milliseconds",
        "epoch",
        "trial_number",
        "test/times_opened",
    ]
    assert not [name for name in logged if is_compared(name)]
    results = ["train/loss", "train/learning_rate", "val/gauc", "best/epoch", "gradient_norm/mlp", "num_parameters", "test/roc/tpr"]
    assert all(is_compared(name) for name in results)
    assert compare_histories({"train_seconds": history((0, 1.0))}, {}) == []


def test_the_table_has_every_metric_with_its_first_difference():
    new = OLD | {"train/loss": history((1, 0.9), (11, 0.75)), "best/auc": history()}
    rows = {row["metric"]: row for row in csv.DictReader(io.StringIO(as_csv(compare_histories(OLD, new))))}
    assert set(rows) == set(OLD)
    assert rows["train/loss"] == {
        "metric": "train/loss",
        "points": "2",
        "differing": "1",
        "largest_difference": "0.25",
        "first_step": "11",
        "old": "0.5",
        "new": "0.75",
    }
    assert (rows["best/auc"]["largest_difference"], rows["best/auc"]["new"]) == ("inf", "")
    assert (rows["val/auc"]["differing"], rows["val/auc"]["first_step"]) == ("0", "")


POINTS = st.dictionaries(st.integers(0, 50), st.floats(-1e6, 1e6), max_size=8)


@given(st.dictionaries(st.sampled_from(["val/a", "train/b", "test/c"]), POINTS, max_size=3), st.data())
def test_every_changed_point_is_found_and_no_other(points, data):
    changed = {
        name: {step: data.draw(st.sampled_from([value, value + 1]), name) for step, value in own.items()} for name, own in points.items()
    }
    metrics = compare_histories(*({name: history(*own.items()) for name, own in side.items()} for side in (points, changed)))
    found = {(difference.metric, difference.step) for metric in metrics for difference in metric.differences}
    assert found == {(name, step) for name, own in points.items() for step, value in own.items() if changed[name][step] != value}


def test_the_default_tolerance_takes_last_bits_and_not_another_model():
    def histories(auc):
        return {"val/auc": (np.array([0.0]), np.array([auc]))}

    old = histories(0.7812)
    assert first_difference(compare_histories(old, histories(0.7812 + 3.5e-4)), DEFAULT_TOLERANCE) is None
    assert first_difference(compare_histories(old, histories(0.7797)), DEFAULT_TOLERANCE) is not None  # of two seeds
