"""Figures are read back through matplotlib's object tree, and rendered to be sure that they can be."""

import math
import warnings
from statistics import NormalDist

import numpy as np
import pytest
import torch
from matplotlib import pyplot
from matplotlib.figure import Figure
from scipy.stats import binomtest

from clickflow.figures.metric_figures import gradient_norm_figure, pr_figure, reliability_figure, roc_figure
from clickflow.figures.style import COLOURS
from clickflow.metrics.calibration import ReliabilityBins, reliability
from clickflow.metrics.curves import pr_curve, roc_curve
from clickflow.metrics.ranking import MetricUndefinedWarning, auc, pr_auc

TARGET = torch.arange(400) % 4 == 0
PREDS = {
    "base": torch.linspace(0, 1, 400),
    "din": (torch.linspace(0, 0.5, 400) + 0.4 * TARGET).clamp(0, 1),
}
ROC = {name: roc_curve(preds, TARGET) for name, preds in PREDS.items()}
PR = {name: pr_curve(preds, TARGET) for name, preds in PREDS.items()}
AUCS = {name: auc(preds, TARGET) for name, preds in PREDS.items()}
PR_AUCS = {name: pr_auc(preds, TARGET) for name, preds in PREDS.items()}


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def assert_renders(figure: Figure, path) -> None:
    figure.savefig(path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_roc_figure_shows_every_curve_from_corner_to_corner_with_its_auc(tmp_path):
    figure = roc_figure(ROC, AUCS)
    axes = figure.axes[0]
    assert axes.get_title(loc="left") == "ROC curve"
    assert "False positive rate" in axes.get_xlabel()
    assert "True positive rate" in axes.get_ylabel()
    assert axes.get_box_aspect() == 1
    assert legend(figure) == [f"base  (AUC {AUCS['base']:.4f})", f"din  (AUC {AUCS['din']:.4f})", "Random order  (AUC 0.5000)"]
    for line, curve in zip(axes.lines, ROC.values(), strict=False):
        x, y = line.get_data()
        assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
        np.testing.assert_array_equal(y[1:-1], curve.y)
    assert_renders(figure, tmp_path / "roc.png")


def test_pr_figure_shows_every_curve_and_the_click_rate(tmp_path):
    figure = pr_figure(PR, PR_AUCS, click_rate=0.25)
    axes = figure.axes[0]
    assert axes.get_title(loc="left") == "Precision-recall curve"
    assert "Recall" in axes.get_xlabel()
    assert "Precision" in axes.get_ylabel()
    assert legend(figure)[0] == f"base  (PR-AUC {PR_AUCS['base']:.4f})"
    assert legend(figure)[-1] == "Random order  (click rate 0.2500)"
    assert list(axes.lines[-1].get_ydata()) == [0.25, 0.25]
    np.testing.assert_array_equal(axes.lines[1].get_ydata(), PR["din"].y)
    assert_renders(figure, tmp_path / "pr.png")


def test_pr_figure_zooms_to_rare_clicks():
    curve = pr_curve(torch.linspace(0, 1, 1000).roll(300), torch.arange(1000) % 100 == 0)
    top = pr_figure({"din": curve}, {"din": 0.01}, click_rate=0.01).axes[0].get_ylim()[1]
    assert curve.y.max() < top < 1


def test_reliability_figure_shows_every_bin_over_the_distribution(tmp_path):
    bins = reliability(PREDS["base"], TARGET)
    figure = reliability_figure(bins)
    upper, lower = figure.axes
    assert upper.get_title(loc="left") == "Reliability of the predicted probabilities"
    assert upper.get_ylabel() == "Click rate (clicks / impressions)"
    assert lower.get_xlabel() == "Predicted click probability"
    assert legend(figure) == ["Perfect calibration", "Bins of about 20 impressions, with 95 % interval"]
    np.testing.assert_allclose(upper.containers[0].lines[0].get_data(), [bins.mean_prediction, bins.click_rate])
    density, edges, _ = lower.patches[0].get_data()
    assert (density * np.diff(edges)).sum() == pytest.approx(1)
    assert_renders(figure, tmp_path / "reliability.png")


@pytest.mark.parametrize(("clicks", "impressions"), [(0, 10), (3, 10), (10, 10), (200, 10_000)])
def test_the_whiskers_are_wilsons_interval(clicks, impressions):
    """Its ends are the rates p at which the observed rate is just 1.96 standard errors (of p) away."""
    rate = clicks / impressions
    one = torch.tensor([rate], dtype=torch.float64)
    figure = reliability_figure(ReliabilityBins(one, one, torch.tensor([impressions]), torch.tensor([0.0, 1.0], dtype=torch.float64)))
    ((_, low), (_, high)) = figure.axes[0].containers[0].lines[2][0].get_segments()[0]
    for end in (low, high):
        distance = NormalDist().inv_cdf(0.975) * math.sqrt(max(end * (1 - end), 0) / impressions)
        assert abs(end - rate) == pytest.approx(distance, rel=1e-4, abs=1e-6)
    assert 0 <= low <= rate <= high <= 1
    assert low < high
    assert (low, high) == pytest.approx(binomtest(clicks, impressions).proportion_ci(method="wilson"), abs=1e-12)


@pytest.mark.parametrize("num_rows", [0, 1, 30])
def test_a_reliability_figure_of_no_rows_or_one_value_still_renders(num_rows, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetricUndefinedWarning)
        bins = reliability(torch.full((num_rows,), 0.2), torch.zeros(num_rows))
    assert_renders(reliability_figure(bins), tmp_path / "reliability.png")


def test_undefined_curves_still_render(tmp_path):
    with pytest.warns(MetricUndefinedWarning):
        roc, pr = roc_curve(torch.tensor([0.5]), torch.tensor([1])), pr_curve(torch.tensor([0.5]), torch.tensor([1]))
    assert_renders(roc_figure({"din": roc}, {"din": math.nan}), tmp_path / "roc.png")
    assert_renders(pr_figure({"din": pr}, {"din": math.nan}, click_rate=1.0), tmp_path / "pr.png")


def test_more_curves_than_colours_differ_by_line_style():
    names = [f"trial {position}" for position in range(2 * len(COLOURS))]
    axes = roc_figure(dict.fromkeys(names, ROC["din"]), dict.fromkeys(names, 0.7)).axes[0]
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines[:-1]}) == len(names)


def gradient_norms(num_layers, decay):
    steps = np.arange(0, 500, 50)
    return {f"mlp.layers.{2 * layer}": (steps, np.full(10, decay ** (num_layers - layer))) for layer in range(num_layers)}


def test_gradient_norm_figure_shows_a_panel_a_run_and_a_line_a_layer_on_one_logarithmic_axis(tmp_path):
    runs = {"sigmoid": gradient_norms(6, 0.1), "relu": gradient_norms(6, 0.9)}
    figure = gradient_norm_figure(runs)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["sigmoid", "relu"]
    assert {axes.get_yscale() for axes in figure.axes} == {"log"}
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    for axes, run in zip(figure.axes, runs.values(), strict=True):
        for line, (steps, values) in zip(axes.lines, run.values(), strict=True):
            np.testing.assert_array_equal(line.get_data(), [steps, values])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(runs["relu"])
    assert_renders(figure, tmp_path / "gradients.png")


def test_gradient_norm_figure_gives_a_layer_one_colour_in_all_runs_and_grows_lighter_from_first_to_last():
    figure = gradient_norm_figure({"deep": gradient_norms(6, 0.5), "flat": gradient_norms(2, 0.5)})
    deep, flat = ([line.get_color() for line in axes.lines] for axes in figure.axes)
    assert flat == deep[:2]
    luminance = [0.299 * red + 0.587 * green + 0.114 * blue for red, green, blue, _ in deep]
    assert luminance == sorted(luminance)


@pytest.mark.parametrize("values", [np.zeros(10), np.full(10, np.nan), np.r_[0.0, np.full(9, 1e-30)]], ids=["zero", "nan", "nearly zero"])
def test_a_gradient_that_is_gone_still_renders(values, tmp_path):
    assert_renders(gradient_norm_figure({"run": {"mlp.layers.0": (np.arange(10), values)}}), tmp_path / "gradients.png")


def test_figures_are_not_registered_with_pyplot():
    roc_figure(ROC, AUCS)
    reliability_figure(reliability(PREDS["din"], TARGET))
    assert pyplot.get_fignums() == []
