"""Figures of metrics: ROC, precision-recall, reliability and gradient norms, each readable without the code at hand."""

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from clickflow.data.arrays import FloatArray, IntArray
from clickflow.figures.style import COLOURS, FIRST_TO_LAST, INK, LINE_STYLES, POINTS, REFERENCE, RESOLUTION_DPI, label_axes, layout
from clickflow.metrics.calibration import ReliabilityBins
from clickflow.metrics.curves import Curve


def roc_figure(curves: Mapping[str, Curve], aucs: Mapping[str, float]) -> Figure:
    """Draw ROC curves of one or several models by name, their exact AUCs in the legend, with the diagonal of a random order."""
    figure, axes = _square_figure("ROC curve", "False positive rate (fraction of non-clicks)", "True positive rate (fraction of clicks)")
    for position, (name, curve) in enumerate(curves.items()):
        x, y = np.r_[0, curve.x, 1], np.r_[0, curve.y, 1]  # the grid leaves out both ends
        axes.plot(x, y, label=f"{name}  (AUC {aucs[name]:.4f})", **_line(position))
    axes.plot([0, 1], [0, 1], label="Random order  (AUC 0.5000)", **REFERENCE)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    _legend(axes, loc="lower right")
    return figure


def pr_figure(curves: Mapping[str, Curve], pr_aucs: Mapping[str, float], click_rate: float) -> Figure:
    """Draw precision-recall curves as :func:`roc_figure` draws ROC curves, with the click rate, the precision of a random order."""
    figure, axes = _square_figure("Precision-recall curve", "Recall (fraction of clicks found)", "Precision (fraction that is clicked)")
    for position, (name, curve) in enumerate(curves.items()):
        axes.plot(curve.x, curve.y, label=f"{name}  (PR-AUC {pr_aucs[name]:.4f})", **_line(position))
    axes.axhline(click_rate, label=f"Random order  (click rate {click_rate:.4f})", **REFERENCE)
    highest = max([click_rate, *(float(np.max(curve.y)) for curve in curves.values() if not np.isnan(curve.y).any())])
    axes.set(xlim=(0, 1), ylim=(0, min(1.0, 1.08 * highest)))
    _legend(axes, loc="best")
    return figure


def reliability_figure(bins: ReliabilityBins) -> Figure:
    """Draw the click rate against the mean prediction, above the distribution of the predictions.

    The whiskers are Wilson's 95 % intervals: they separate a bin that misses the diagonal by chance from one that is miscalibrated. The
    distribution is drawn as a density because bins of equal counts have unequal widths.
    """
    mean_prediction, click_rate, impressions, edges = (np.asarray(values.cpu()) for values in bins)
    low, high = _wilson_interval(click_rate, impressions)
    limit = min(1.0, 1.06 * max(np.max(mean_prediction, initial=0.0), np.max(high, initial=0.0))) or 1.0
    figure = Figure(figsize=(6.0, 7.5), dpi=RESOLUTION_DPI, layout=layout())
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4.5, 1))
    upper.plot([0, limit], [0, limit], label="Perfect calibration", **REFERENCE)
    if len(impressions):
        label = f"Bins of about {np.median(impressions):,.0f} impressions, with 95 % interval"
        upper.errorbar(mean_prediction, click_rate, (click_rate - low, high - click_rate), label=label, **POINTS)
    label_axes(upper, "Reliability of the predicted probabilities", "", "Click rate (clicks / impressions)")
    margin = 0.02 * limit  # room for points on the border
    upper.set(xlim=(-margin, limit + margin), ylim=(-margin, limit + margin))
    upper.set_box_aspect(1)
    _legend(upper, loc="upper left")
    _density(lower, impressions, edges)
    return figure


def gradient_norm_figure(norms: Mapping[str, Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]]]) -> Figure:
    """Draw the gradient norm of every layer over the steps, one panel per run: a vanishing gradient is a fan of lines.

    At least one run has norms: run label -> layer name, the first layer first -> (steps, values).
    """
    num_columns = min(len(norms), 4)
    num_rows = math.ceil(len(norms) / num_columns)
    size = (1.9 + 4.1 * num_columns, 1.0 + 3.6 * num_rows)
    figure = Figure(figsize=size, dpi=RESOLUTION_DPI, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12))
    panels = figure.subplots(num_rows, num_columns, sharex=True, sharey=True, squeeze=False).ravel()
    for unused in panels[len(norms) :]:
        unused.remove()
    layers = list(dict.fromkeys(layer for run in norms.values() for layer in run))
    colours = dict(zip(layers, FIRST_TO_LAST(np.linspace(0.0, 0.92, len(layers))), strict=True))
    for position, (axes, (label, run)) in enumerate(zip(panels, norms.items(), strict=False)):
        for layer, (steps, values) in run.items():
            positive = np.where(np.asarray(values, np.float64) > 0, values, np.nan)  # 0 has no logarithm
            axes.plot(np.asarray(steps), positive, color=colours[layer], linewidth=1.8, marker="o", markersize=2.5, zorder=3)
        label_axes(axes, "", "Training step", "" if position % num_columns else "Gradient norm (L2)")
        axes.set_title(label, fontsize=11, color=INK, loc="left")
        axes.set_yscale("log")
        axes.yaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.margins(x=0.02)
    figure.suptitle("Gradient norm of each layer", fontsize=13, fontweight="bold", color=INK, x=0.02, ha="left")
    handles = [Line2D([], [], color=colours[layer], linewidth=2.5, label=layer) for layer in layers]
    legend = figure.legend(handles=handles, loc="outside right center", fontsize=9.5, labelcolor=INK, frameon=False, alignment="left")
    legend.set_title("Layer, first to last")
    legend.get_title().set(color=INK, fontsize=9.5)
    return figure


def _density(axes: Axes, impressions: IntArray, edges: FloatArray) -> None:
    """Draw a histogram of unequal bins: the area is the share of impressions."""
    if len(impressions) and edges[-1] > edges[0]:
        axes.stairs(impressions / impressions.sum() / np.diff(edges), edges, fill=True, color=COLOURS[0], alpha=0.35)
    elif len(impressions):  # one value only
        axes.axvline(edges[0], color=COLOURS[0], linewidth=2)
    label_axes(axes, "", "Predicted click probability", "Density")
    axes.set_ylim(bottom=0)
    axes.set_box_aspect(0.22)
    axes.yaxis.set_major_locator(MaxNLocator(3))


def _wilson_interval(rate: FloatArray, impressions: IntArray) -> tuple[FloatArray, FloatArray]:
    """95 % interval of each bin's proportion; it stays within [0, 1] and has a width at rate 0 (Wilson 1927).

    These lines are SciPy's ``binomtest``, whose import takes most of a CPU second: a tenth of a promotion.
    """
    z = NormalDist().inv_cdf(0.975)
    share = z**2 / (impressions + z**2)  # the weight of the rate 1/2 beside the observed one
    centre = rate + share * (0.5 - rate)
    margin = share / z * np.sqrt(impressions * rate * (1 - rate) + z**2 / 4)
    # Rounding may leave a rate of 0 or 1 slightly outside its interval.
    return np.minimum(centre - margin, rate), np.maximum(centre + margin, rate)


def _square_figure(title: str, x_label: str, y_label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.0, 6.0), dpi=RESOLUTION_DPI, layout=layout())
    axes = figure.subplots()
    axes.set_box_aspect(1)
    label_axes(axes, title, x_label, y_label)
    return figure, axes


def _line(position: int) -> dict[str, Any]:
    style = LINE_STYLES[position // len(COLOURS) % len(LINE_STYLES)]
    return {"color": COLOURS[position % len(COLOURS)], "linestyle": style, "linewidth": 2.0, "zorder": 3, "clip_on": False}


def _legend(axes: Axes, loc: Literal["best", "upper left", "lower right"]) -> None:
    axes.legend(loc=loc, fontsize=9.5, labelcolor=INK, frameon=True, framealpha=0.9, edgecolor="none", borderpad=0.6)
