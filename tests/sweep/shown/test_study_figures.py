"""Figures are read back through matplotlib's object tree, and rendered to be sure that they can be."""

import itertools
import math
import warnings

import numpy as np
import optuna
import pytest
from matplotlib import pyplot
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from optuna.trial import TrialState
from tests.sweep.studies import PARAMETERS, SPACE, a_study, a_sweep, a_trial

from clickflow.figures.metric_figures import COLOURS
from clickflow.sweep.shown.importances import importances
from clickflow.sweep.shown.parameter_figures import NOT_USED, parallel_coordinates_figure, parameter_axis, slices_figure
from clickflow.sweep.shown.study_figures import history_figure, pareto_front_figure, study_figures
from clickflow.sweep.shown.view import short_names, view_of

GAUC = ["val/gauc"]
TWO = ["val/gauc", "num_parameters"]
UP_DOWN = ("maximize", "minimize")


def points(axes, label: str) -> list[tuple[float, float]]:
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return list(zip(*line.get_data(), strict=True))


def complete(study):
    return [trial for trial in study.trials if trial.state == TrialState.COMPLETE and not trial.user_attrs.get("surplus")]


def beaten_by(one, other) -> bool:
    """In a study that maximizes its first metric and minimizes the second."""
    no_worse = other.values[0] >= one.values[0] and other.values[1] <= one.values[1]
    return no_worse and other.values != one.values


def test_a_sweep_of_one_metric_has_four_figures_and_leaves_nothing_in_pyplot():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = study_figures(a_sweep(), SPACE, GAUC)
    assert list(figures) == ["history", "importances", "parallel_coordinates", "slices"]
    assert pyplot.get_fignums() == []
    assert all(axes.figure is figure for figure in figures.values() for axes in figure.axes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metrics", "directions"), [(GAUC, ("maximize",)), (TWO, UP_DOWN), ([*TWO, "val/log_loss"], (*UP_DOWN, "minimize"))]
)
def test_every_figure_renders(metrics, directions, tmp_path):
    for name, figure in study_figures(a_sweep(directions=directions), SPACE, metrics).items():
        figure.savefig(tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_several_metrics_have_a_pareto_front_too():
    assert "pareto_front" in study_figures(a_sweep(directions=UP_DOWN), SPACE, TWO)


def test_one_name_is_needed_for_each_objective():
    with pytest.raises(ValueError, match=r"metrics = \['val/gauc'\]: must name each of the study's 2 objectives"):
        study_figures(a_sweep(directions=UP_DOWN), SPACE, GAUC)


@pytest.mark.parametrize(
    "trials",
    [
        [],
        [optuna.create_trial(state=TrialState.WAITING), a_trial({"model": "din"}, state=TrialState.FAIL)],
        [a_trial({"model": "din"}, 9.0, surplus=True)],
        [a_trial({"model": "din"}, state=TrialState.PRUNED)],
    ],
)
def test_without_a_finished_trial_there_is_no_figure(trials):
    assert study_figures(a_study(trials), SPACE, GAUC) == {}


def test_a_figure_that_one_trial_is_not_enough_for_is_left_out():
    assert list(study_figures(a_study([a_trial({"model": "din", "model.dropout": 0.1}, 0.8)]), SPACE, GAUC)) == ["history", "slices"]


def test_trials_that_are_equally_good_have_no_importances():
    study = a_study([a_trial({"model": model, "model.dropout": 0.1}, 0.8) for model in ("din", "base", "din")])
    assert list(study_figures(study, SPACE, GAUC)) == ["history", "slices"]


def test_a_parameter_with_one_value_has_no_place():
    space = SPACE.model_copy(update={"parameters": {"model": SPACE.parameters["model"].model_copy(update={"values": ("din",)})}})
    distribution = space.parameters["model"].distribution()
    trials = [optuna.create_trial(value=value, params={"model": '"din"'}, distributions={"model": distribution}) for value in (0.7, 0.8)]
    assert list(study_figures(a_study(trials), space, GAUC)) == ["history"]


def test_trials_without_a_number_to_draw_are_passed_over():
    study = a_study([a_trial({"model": "din"}, math.inf), a_trial({"model": "base"}, 0.8)])
    axes = history_figure(view_of(study, SPACE, GAUC)).axes[0]
    assert points(axes, "complete") == [(1, 0.8)]


@pytest.mark.parametrize(("direction", "best_of"), [("maximize", max), ("minimize", min)])
def test_history_shows_every_finished_trial_and_the_best_so_far(direction, best_of):
    study = a_sweep(directions=(direction,))
    axes = history_figure(view_of(study, SPACE, GAUC)).axes[0]
    values = [trial.value for trial in complete(study)]
    assert points(axes, "complete") == [(trial.number, trial.value) for trial in complete(study)]
    assert points(axes, "pruned (its last validation)") == [(16, 0.7)]
    (best,) = [line for line in axes.lines if "best so far" in line.get_label()]
    assert list(best.get_xdata()) == [*range(16), 16]
    assert list(best.get_ydata()) == [best_of(values[: last + 1]) for last in range(16)] + [best_of(values)]
    assert best.get_drawstyle() == "steps-post"
    assert best.get_label().endswith(f"trial {values.index(best_of(values))}")


def test_pruned_trials_are_hollow():
    axes = history_figure(view_of(a_sweep(), SPACE, GAUC)).axes[0]
    fills = {line.get_label(): line.get_markerfacecolor() for line in axes.lines}
    assert (fills["complete"], fills["pruned (its last validation)"]) == (COLOURS[0], "white")


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_importances_find_the_parameter_that_decides(direction):
    found = importances(view_of(a_sweep(40, (direction,)), SPACE, GAUC), 0)
    assert found[0].parameter == "learning_rate"
    assert [one.share for one in found] == sorted((one.share for one in found), reverse=True)
    assert sorted(one.parameter for one in found) == sorted(PARAMETERS)
    assert sum(one.share for one in found if one.num_trials == 40) == pytest.approx(1)


def test_a_conditional_parameter_is_measured_among_the_trials_that_have_it():
    study = a_sweep(20)
    with_it = [trial for trial in complete(study) if "model.attention_hidden_units" in trial.params]
    counts = {one.parameter: one.num_trials for one in importances(view_of(study, SPACE, GAUC), 0)}
    assert counts == dict.fromkeys(PARAMETERS, 20) | {"attention_hidden_units": len(with_it)}


def test_bars_are_as_long_as_what_is_written_beside_them():
    axes = study_figures(a_sweep(), SPACE, GAUC)["importances"].axes[0]
    widths = {round(bar.get_y() + bar.get_height() / 2): bar.get_width() for bar in axes.patches}
    assert [text.get_text() for text in axes.texts] == [f"{widths[row]:.2f}" for row in range(len(widths))]
    assert axes.get_yticklabels()[0].get_text() == "learning_rate"
    labels = {to_hex(container[0].get_facecolor()): container.get_label() for container in axes.containers}
    assert labels == {COLOURS[0].lower(): "among all complete trials", COLOURS[5].lower(): "among the trials that have it"}


def test_a_logarithmic_axis_spans_what_is_searched():
    axis = parameter_axis("learning_rate", view_of(a_sweep(), SPACE, GAUC).complete)
    assert axis.ends == pytest.approx((-4, -1))
    assert axis.labels == ["0.0001", "0.001", "0.01", "0.1"]
    np.testing.assert_allclose(axis.heights(axis.ticks), [0, 1 / 3, 2 / 3, 1])


def test_an_axis_of_choices_names_them_in_their_order():
    axis = parameter_axis("attention_hidden_units", view_of(a_sweep(), SPACE, GAUC).complete)
    assert axis.labels == ["[40, 20]", "[80, 40]", "null"]
    assert list(axis.heights(axis.ticks)) == [0, 0.5, 1]


@pytest.mark.parametrize(("direction", "best"), [("maximize", 2), ("minimize", 1)])
def test_parallel_lines_run_through_each_trials_values_and_the_best_lies_on_top(direction, best):
    values = [
        ({"model": "din", "optimizer.learning_rate": 1e-2, "model.attention_hidden_units": [80, 40]}, 0.5),
        ({"model": "base", "optimizer.learning_rate": 1e-4}, 0.4),
        ({"model": "din", "optimizer.learning_rate": 1e-1, "model.attention_hidden_units": None}, 0.8),
    ]
    study = a_study([a_trial(of_trial, value) for of_trial, value in values], (direction,))
    axes = parallel_coordinates_figure(view_of(study, SPACE, GAUC)).axes[0]
    (lines,) = [collection for collection in axes.collections if isinstance(collection, LineCollection)]
    expected = [[1, 2 / 3, 0.5, 0.25], [0, 0, NOT_USED, 0], [1, 1, 1, 1]]
    order = [1, 0, 2] if direction == "maximize" else [2, 0, 1]
    for segment, number in zip(lines.get_segments(), order, strict=True):
        np.testing.assert_allclose(segment[:, 1], expected[number], atol=1e-9)
    np.testing.assert_allclose(lines.get_array(), [values[number][1] for number in order])
    assert order[-1] == best
    assert lines.get_linewidths()[-1] > lines.get_linewidths()[0]
    assert [label.get_text().replace("\n", "") for label in axes.get_xticklabels()] == [
        "model",
        "learning_rate",
        "attention_hidden_units",
        "val/gauc",
    ]
    assert [text.get_text() for text in axes.texts].count("not used") == 1


def test_slices_show_the_trials_that_have_the_parameter():
    study = a_sweep()
    panels = {axes.get_xlabel(): axes for axes in slices_figure(view_of(study, SPACE, GAUC)).axes if axes.get_xlabel()}
    assert list(panels) == PARAMETERS
    offsets = panels["dropout"].collections[0].get_offsets()
    np.testing.assert_allclose(offsets, [(trial.params["model.dropout"], trial.value) for trial in complete(study)])
    np.testing.assert_array_equal(panels["dropout"].collections[0].get_array(), range(16))
    drawn = np.isfinite(np.ma.filled(panels["attention_hidden_units"].collections[0].get_offsets(), np.nan)).all(axis=1)
    assert list(drawn) == ["model.attention_hidden_units" in trial.params for trial in complete(study)]
    assert [label.get_text() for label in panels["embedding_dim"].get_xticklabels()] == ["8", "16", "32"]


def test_the_front_is_that_of_a_plain_loop():
    study = a_sweep(30, UP_DOWN)
    trials = complete(study)
    front = [one for one in trials if not any(beaten_by(one, other) for other in trials)]
    axes = pareto_front_figure(view_of(study, SPACE, TWO)).axes[0]
    assert 1 < len(front) < len(trials)
    assert sorted(points(axes, "front, by trial number")) == sorted(tuple(trial.values) for trial in front)
    assert sorted(int(text.get_text()) for text in axes.texts) == [trial.number for trial in front]
    assert len(points(axes, "beaten")) == len(trials) - len(front)


@pytest.mark.parametrize("directions", list(itertools.product(["maximize", "minimize"], repeat=2)))
def test_the_fronts_line_bounds_what_is_reached(directions):
    """No corner of the line is better than every trial: some trial is at least as good in both metrics."""
    sign = np.array([1 if direction == "maximize" else -1 for direction in directions])
    study = a_study([a_trial({"model": "din"}, *(sign * point)) for point in ((1, 3), (2, 2), (3, 1), (1, 1))], directions)
    axes = pareto_front_figure(view_of(study, SPACE, TWO)).axes[0]
    line = axes.lines[1]
    x, y = line.get_data()
    corners = [(x[i + 1], y[i]) if line.get_drawstyle() == "steps-post" else (x[i], y[i + 1]) for i in range(len(x) - 1)]
    for corner in corners:
        assert any((sign * trial.values >= sign * np.array(corner)).all() for trial in study.trials)


def test_three_metrics_are_seen_in_pairs():
    study = a_sweep(12, (*UP_DOWN, "minimize"))
    panels = pareto_front_figure(view_of(study, SPACE, [*TWO, "val/log_loss"])).axes
    labels = [(axes.get_xlabel().split()[0], axes.get_ylabel().split()[0]) for axes in panels]
    assert labels == [("val/gauc", "num_parameters"), ("val/gauc", "val/log_loss"), ("num_parameters", "val/log_loss")]
    assert "less is better" in panels[0].get_ylabel()


def test_names_are_short_where_they_stay_clear():
    assert short_names(["model", "model.dropout", "optimizer.weight_decay", "schedule.weight_decay"]) == {
        "model": "model",
        "model.dropout": "dropout",
        "optimizer.weight_decay": "optimizer.weight_decay",
        "schedule.weight_decay": "schedule.weight_decay",
    }


def test_a_view_keeps_the_numbers_of_trials_and_leaves_optunas_logging_as_it_was():
    verbosity = optuna.logging.get_verbosity()
    view = view_of(a_sweep(4), SPACE, GAUC)
    assert [trial.number for trial in view.complete] == [0, 1, 2, 3]
    assert [trial.number for trial in view.pruned] == [4]
    assert len(view.study.trials) == 9
    assert optuna.logging.get_verbosity() == verbosity
