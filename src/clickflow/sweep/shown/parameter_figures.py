"""What each parameter's values led to: parallel coordinates and slices of the complete trials.

Decision: an axis spans what is searched, not what was tried, so that a best value at the border of its range is seen as one.
"""

import math
import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import Locator, LogLocator, MaxNLocator
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from clickflow.figures.metric_figures import COLOURS, FIRST_TO_LAST, INK, RESOLUTION_DPI, label_axes, layout
from clickflow.sweep.shown.view import StudyView, readable

Floats = npt.NDArray[np.float64]

DARK_TO_LIGHT: Colormap = ListedColormap(FIRST_TO_LAST(np.linspace(0.0, 0.92, 256)))
"""Without the end that white swallows."""
NOT_USED = -0.13
"""Where a line passes an axis whose parameter its trial has not, in heights of the axes below them."""
MOST_TICKS = 6
COLUMNS = 4
RING: dict[str, Any] = {
    "marker": "o",
    "markersize": 10,
    "markerfacecolor": "none",
    "color": COLOURS[1],
    "markeredgewidth": 1.8,
    "zorder": 4,
}


class Axis(NamedTuple):
    """Where the values of a parameter, or of a metric, lie.

    Attributes:
        name: heading.
        positions: (T,) of each trial: a number, its decimal logarithm, or a category's place; NaN where a trial has none.
        ends: lowest and highest position.
        ticks: positions that are labelled.
        labels: of the ticks.
    """

    name: str
    positions: Floats
    ends: tuple[float, float]
    ticks: Sequence[float]
    labels: Sequence[str]

    def heights(self, positions: npt.ArrayLike) -> Floats:
        """Positions as shares of the way from the lower to the upper end; those that are missing below it."""
        low, high = self.ends
        heights = (np.asarray(positions, np.float64) - low) / (high - low)
        return np.where(np.isnan(heights), NOT_USED, heights)


def parameter_axis(name: str, trials: Sequence[FrozenTrial]) -> Axis | None:
    """The axis of a parameter, or None where only one value is searched.

    Args:
        name: as the trials call it.
        trials: (T,) some of which have it.
    """
    distributions = [trial.distributions[name] for trial in trials if name in trial.params]
    if all(distribution.single() for distribution in distributions):
        return None
    if isinstance(distributions[0], CategoricalDistribution):
        return _category_axis(name, trials, distributions[0])
    numeric = [distribution for distribution in distributions if isinstance(distribution, IntDistribution | FloatDistribution)]
    low, high = min(distribution.low for distribution in numeric), max(distribution.high for distribution in numeric)
    values = np.array([trial.params.get(name, math.nan) for trial in trials], np.float64)
    if not numeric[0].log:
        whole = all(isinstance(distribution, IntDistribution) for distribution in numeric)
        return _number_axis(name, values, (low, high), whole)
    ticks = _ticks_within(LogLocator(subs=(1, 2, 5)), low, high)
    if len(ticks) < 2:
        ticks = [low, high]
    elif len(ticks) > MOST_TICKS:
        ticks = _ticks_within(LogLocator(subs=(1,)), low, high)
    return Axis(name, np.log10(values), (math.log10(low), math.log10(high)), np.log10(ticks).tolist(), [f"{tick:g}" for tick in ticks])


def metric_axis(name: str, values: npt.ArrayLike) -> Axis:
    """The axis of a metric.

    Args:
        name: of the metric.
        values: (T,) at least two different ones.
    """
    positions = np.asarray(values, np.float64)
    return _number_axis(name, positions, (float(positions.min()), float(positions.max())), whole=False)


def _category_axis(name: str, trials: Sequence[FrozenTrial], distribution: CategoricalDistribution) -> Axis:
    choices = list(distribution.choices)
    positions = np.array([choices.index(trial.params[name]) if name in trial.params else math.nan for trial in trials])
    return Axis(name, positions, (0.0, len(choices) - 1.0), list(range(len(choices))), [readable(choice) for choice in choices])


def _number_axis(name: str, values: Floats, ends: tuple[float, float], whole: bool) -> Axis:
    ticks = _ticks_within(MaxNLocator(MOST_TICKS - 1, integer=whole), *ends)
    return Axis(name, values, ends, ticks, [f"{tick:.6g}" for tick in ticks])


def _ticks_within(locator: Locator, low: float, high: float) -> list[float]:
    margin = 1e-9 * (high - low)  # what rounding puts a hair outside
    return [float(tick) for tick in locator.tick_values(low, high) if low - margin <= tick <= high + margin]


def parallel_coordinates_figure(view: StudyView) -> Figure | None:
    """One line a complete trial, through its value of each parameter and metric; the darker, the better in the first metric."""
    trials = view.complete
    axes_of_parameters = [axis for name in view.parameters if (axis := parameter_axis(name, trials)) is not None]
    values = np.array([trial.values for trial in trials]).reshape(len(trials), len(view.metrics))
    of_metrics = [metric_axis(name, column) for name, column in zip(view.metrics, values.T, strict=True) if len(set(column)) > 1]
    if not axes_of_parameters or not of_metrics or of_metrics[0].name != view.metrics[0]:
        return None
    coordinates = axes_of_parameters + of_metrics
    figure = Figure(figsize=(1.9 + 1.75 * (len(coordinates) - 1), 5.4), dpi=RESOLUTION_DPI, layout=layout())
    axes = figure.subplots()
    label_axes(axes, "Parameters of each complete trial", "", "")
    axes.title.set_position((0, 1.08))
    colours = DARK_TO_LIGHT.reversed() if view.is_maximized(0) else DARK_TO_LIGHT
    norm = Normalize(values[:, 0].min(), values[:, 0].max())
    order = np.argsort(values[:, 0] if view.is_maximized(0) else -values[:, 0], kind="stable")  # the best is drawn last
    heights = np.stack([axis.heights(axis.positions) for axis in coordinates], axis=1)[order]  # (T, axes)
    lines = [np.column_stack([range(len(coordinates)), line]) for line in heights]
    widths = [1.3] * (len(lines) - 1) + [3.2]
    axes.add_collection(LineCollection(lines, array=values[order, 0], cmap=colours, norm=norm, linewidths=widths, alpha=0.85))
    _draw_coordinates(axes, coordinates)
    bar = figure.colorbar(ScalarMappable(norm, colours), ax=axes, pad=0.03, fraction=0.04, aspect=32)
    _dress_bar(bar, view.metrics[0])
    return figure


def _draw_coordinates(axes: Axes, coordinates: Sequence[Axis]) -> None:
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set(xlim=(-0.15, len(coordinates) - 0.75), ylim=(NOT_USED - 0.05, 1.04), yticks=[])
    axes.set_xticks(range(len(coordinates)), [_broken(axis.name) for axis in coordinates])
    axes.tick_params(axis="x", labeltop=True, labelbottom=False)
    halo = [withStroke(linewidth=2.5, foreground="white")]
    for x, axis in enumerate(coordinates):
        axes.plot([x, x], [0, 1], color=INK, linewidth=1.0, zorder=3)
        marks = list(zip(axis.heights(axis.ticks), axis.labels, strict=True))
        if np.isnan(axis.positions).any():
            marks.append((np.float64(NOT_USED), "not used"))
        for height, label in marks:
            axes.plot(x, height, marker="_", markersize=6, color=INK, zorder=3)
            axes.annotate(
                label, (x, height), (6, 0), textcoords="offset points", va="center", fontsize=9, color=INK, path_effects=halo, zorder=4
            )


def slices_figure(view: StudyView) -> Figure | None:
    """A metric's values over each parameter's, one panel a parameter; later trials are darker, and the best one is ringed."""
    trials = view.complete
    coordinates = [axis for name in view.parameters if (axis := parameter_axis(name, trials)) is not None]
    if not coordinates:
        return None
    num_columns = math.ceil(len(coordinates) / math.ceil(len(coordinates) / COLUMNS))  # five are 3 and 2, not 4 and 1
    rows_per_metric = math.ceil(len(coordinates) / num_columns)
    num_rows = rows_per_metric * len(view.metrics)
    figure = Figure(figsize=(1.4 + 3.0 * num_columns, 1.0 + 2.9 * num_rows), dpi=RESOLUTION_DPI, layout=layout())
    panels = figure.subplots(num_rows, num_columns, squeeze=False)
    colours, norm = DARK_TO_LIGHT.reversed(), Normalize(0, max(1, trials[-1].number))
    for position, metric in enumerate(view.metrics):
        rows = panels[position * rows_per_metric : (position + 1) * rows_per_metric].ravel()
        values = np.array([trial.values[position] for trial in trials])
        best = trials.index(view.best(position))
        for place, (axes, axis) in enumerate(zip(rows, coordinates, strict=False)):
            axes.sharey(rows[0])
            label_axes(axes, "", axis.name, "" if place % num_columns else metric)
            axes.scatter(axis.positions, values, c=[trial.number for trial in trials], cmap=colours, norm=norm, s=26, zorder=3)
            axes.plot(axis.positions[best], values[best], **RING)
            _set_ticks(axes, axis)
        for unused in rows[len(coordinates) :]:
            unused.remove()
    figure.suptitle("Value over each parameter", fontsize=13, fontweight="bold", color=INK, x=0.02, ha="left")
    _dress_bar(figure.colorbar(ScalarMappable(norm, colours), ax=figure.axes, pad=0.02, fraction=0.03, aspect=32), "Trial")
    return figure


def _set_ticks(axes: Axes, axis: Axis) -> None:
    low, high = axis.ends
    margin = 0.07 * (high - low)
    axes.set_xlim(low - margin, high + margin)
    axes.set_xticks(axis.ticks, axis.labels)
    axes.tick_params(axis="y", labelleft=axes.get_ylabel() != "")


def _dress_bar(bar: Colorbar, label: str) -> None:
    bar.set_label(label, fontsize=10, color=INK)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=INK, labelsize=9, length=0)
    if label == "Trial":
        bar.ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))


def _broken(name: str) -> str:
    """A long name in lines, broken behind its underscores."""
    return textwrap.fill(name.replace("_", "_ "), 15).replace("_ ", "_")
