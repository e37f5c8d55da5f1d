"""Figure of the AUC of every slice of the rows, with its interval."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clickflow.figures.style import COLOURS, INK, POINTS, REFERENCE, RESOLUTION_DPI, label_axes, layout
from clickflow.text import cut

HEIGHT_PER_LINE = 0.24  # inches
LONGEST_LABEL = 32
MOST = 150
"""Greatest number of slices in one figure; among more, a line is hard to find."""
NARROWEST = 0.02  # least width of the AUC axis, so that equal slices do not look far apart


class SlicePoint(NamedTuple):
    """Field and value of a slice, its number of rows, and its AUC with an interval, NaN if the rows do not define them."""

    name: str
    value: str
    rows: int
    auc: float
    low: float
    high: float


def slice_figure(points: Sequence[SlicePoint], whole: float, title: str) -> Figure:
    """Draw one line per slice, in the given order from the top, and a vertical line at ``whole``, the AUC of all rows unless NaN.

    Slices of one name are neighbours. Those without a defined AUC are left out; those without an interval are hollow, because their AUC is
    that of a handful of rows.
    """
    defined = [point for point in points if math.isfinite(point.auc)]
    placed, headings = _placed(defined[:MOST])
    num_lines = len(placed) + len(headings)
    figure = Figure(figsize=(8.0, 1.3 + HEIGHT_PER_LINE * max(num_lines, 1)), dpi=RESOLUTION_DPI, layout=layout())
    axes = figure.subplots()
    label_axes(axes, title if len(defined) <= MOST else f"{title}, the first {MOST} of {len(defined):,}", "AUC", "")
    axes.grid(visible=False, axis="y")
    if math.isfinite(whole):
        axes.axvline(whole, label=f"all rows  ({whole:.4f})", **REFERENCE)
    _draw(axes, placed)
    _label(axes, placed, headings)
    axes.set_ylim(num_lines - 0.4, -1.6)
    low, high = axes.get_xlim()
    widen = max(0.0, NARROWEST - (high - low)) / 2
    axes.set_xlim(low - widen, high + widen)
    if placed:
        figure.legend(loc="outside lower center", ncols=3, fontsize=9, labelcolor=INK, frameon=False)
    return figure


def _placed(points: Sequence[SlicePoint]) -> tuple[dict[int, SlicePoint], dict[int, str]]:
    """Line -> point, and line -> name above the points of that name."""
    placed: dict[int, SlicePoint] = {}
    headings: dict[int, str] = {}
    for name, found in itertools.groupby(points, key=lambda point: point.name):
        headings[len(placed) + len(headings)] = name
        for point in found:
            placed[len(placed) + len(headings)] = point
    return placed, headings


def _draw(axes: Axes, points: Mapping[int, SlicePoint]) -> None:
    sure = {line: point for line, point in points.items() if math.isfinite(point.low)}
    unsure = {line: point for line, point in points.items() if line not in sure}
    if sure:
        ends = np.array([(point.auc - point.low, point.high - point.auc) for point in sure.values()]).T
        axes.errorbar([point.auc for point in sure.values()], list(sure), xerr=ends, label="slice, with 95 % interval", **POINTS)
    if unsure:
        hollow: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 4.5, "fillstyle": "none", "color": COLOURS[0]}
        axes.plot([point.auc for point in unsure.values()], list(unsure), label="too few rows for an interval", **hollow)


def _label(axes: Axes, points: Mapping[int, SlicePoint], headings: Mapping[int, str]) -> None:
    """Label each line: values on the left, numbers of rows on the right."""
    labels = dict(sorted({**{line: point.value for line, point in points.items()}, **headings}.items()))
    # The values are the user's: a $ is a $.
    axes.set_yticks(list(labels), [cut(label, LONGEST_LABEL) for label in labels.values()], fontsize=8.5, parse_math=False)
    for line, label in zip(labels, axes.get_yticklabels(), strict=True):
        label.set_fontweight("bold" if line in headings else "normal")
    for line, text in {-1: "rows", **{line: f"{point.rows:,}" for line, point in points.items()}}.items():
        axes.text(1.015, line, text, transform=axes.get_yaxis_transform(), va="center", fontsize=8.5, color=INK)
