"""What a sweep found, as figures to be logged as PNG: history, importances, parallel coordinates, slices and the Pareto front.

Decision: drawn on matplotlib's object interface from the study's trials. Optuna's own matplotlib functions are experimental, go through
``pyplot``, switch its style for the whole process and leave their figures registered there.
"""

import itertools
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna.study import Study

from clickflow.figures.metric_figures import COLOURS, INK, RESOLUTION_DPI, label_axes, layout
from clickflow.sweep.shown.importances import Importance, importances
from clickflow.sweep.shown.parameter_figures import parallel_coordinates_figure, slices_figure
from clickflow.sweep.shown.view import StudyView, measured, view_of
from clickflow.sweep.space import SearchSpace

PALE = "#9AA5B1"
HEIGHT_PER_PARAMETER = 0.42  # inches


def study_figures(study: Study, space: SearchSpace, metrics: Sequence[str]) -> dict[str, Figure]:
    """Every figure that the study's trials are enough for.

    Args:
        study: with any number of trials in any states.
        space: what it searches.
        metrics: names of its objectives, as in ``val/gauc``.

    Returns:
        ``history``, ``importances``, ``parallel_coordinates``, ``slices`` and, with several metrics, ``pareto_front``.

    Raises:
        ValueError: there are more or fewer metrics than objectives.
    """
    view = view_of(study, space, metrics)
    figures = {
        "history": history_figure(view),
        "importances": importances_figure(view),
        "parallel_coordinates": parallel_coordinates_figure(view),
        "slices": slices_figure(view),
        "pareto_front": pareto_front_figure(view),
    }
    return {name: figure for name, figure in figures.items() if figure is not None}


def history_figure(view: StudyView) -> Figure | None:
    """Each trial's value over its number, and the best so far; one panel a metric."""
    if not view.complete and not view.pruned:
        return None
    count = len(view.metrics)
    figure = Figure(figsize=(8.0, 1.6 + 2.9 * count), dpi=RESOLUTION_DPI, layout=layout())
    panels = figure.subplots(count, 1, sharex=True, squeeze=False).ravel()
    for position, axes in enumerate(panels):
        _history(axes, view, position)
    panels[0].set_title("Value of each trial", fontsize=13, fontweight="bold", color=INK, loc="left", pad=30)
    panels[-1].set_xlabel("Trial", fontsize=10.5, color=INK)
    panels[-1].xaxis.set_major_locator(MaxNLocator(8, integer=True))
    return figure


def _history(axes: Axes, view: StudyView, position: int) -> None:
    label_axes(axes, "", "", view.metrics[position])
    handles = []
    if view.complete:
        numbers = [trial.number for trial in view.complete]
        values = [trial.values[position] for trial in view.complete]
        best = view.best(position)
        label = f"best so far: {measured(best.values[position])}, trial {best.number}"
        steps = axes.plot(*view.best_so_far(position), drawstyle="steps-post", color=COLOURS[1], linewidth=1.8, label=label)
        points = axes.plot(numbers, values, linestyle="none", marker="o", markersize=5.5, color=COLOURS[0], label="complete")
        handles = [*points, *steps]
    if view.pruned:
        pruned = [(trial.number, trial.values[position]) for trial in view.pruned]
        label = "pruned (its last validation)"
        x, y = zip(*pruned, strict=True)
        hollow = axes.plot(x, y, linestyle="none", marker="o", markersize=5.5, color=PALE, markerfacecolor="white", label=label)
        handles[1:1] = hollow
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, fontsize=9.5, labelcolor=INK, frameon=False)


def importances_figure(view: StudyView) -> Figure | None:
    """How much each parameter decides about each metric; one panel a metric, in the order of the first."""
    found = {metric: importances(view, position) for position, metric in enumerate(view.metrics)}
    found = {metric: of_parameters for metric, of_parameters in found.items() if of_parameters}
    if not found:
        return None
    names = list(dict.fromkeys(importance.parameter for of_parameters in found.values() for importance in of_parameters))
    size = (2.4 + 4.4 * len(found), 1.9 + HEIGHT_PER_PARAMETER * len(names))
    figure = Figure(figsize=size, dpi=RESOLUTION_DPI, layout=layout())
    panels = figure.subplots(1, len(found), sharey=True, squeeze=False).ravel()
    for axes, (metric, of_parameters) in zip(panels, found.items(), strict=True):
        label_axes(axes, f"Importance for {metric}", "Share of what single parameters explain (fANOVA)", "")
        axes.grid(visible=False, axis="y")
        _bars(axes, [(names.index(importance.parameter), importance) for importance in of_parameters], len(view.complete))
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    handles = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    if len(handles) > 1:
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2, fontsize=9.5, labelcolor=INK, frameon=False)
    return figure


def _bars(axes: Axes, rows: Sequence[tuple[int, Importance]], num_trials: int) -> None:
    for label, colour, of_all in (("among all complete trials", COLOURS[0], True), ("among the trials that have it", COLOURS[5], False)):
        some = [(row, importance.share) for row, importance in rows if (importance.num_trials == num_trials) == of_all]
        if some:
            axes.barh([row for row, _ in some], [share for _, share in some], height=0.62, color=colour, label=label)
    for row, importance in rows:
        text = f"{importance.share:.2f}"
        axes.annotate(text, (importance.share, row), (5, 0), textcoords="offset points", va="center", fontsize=9.5, color=INK)
    axes.set_xlim(0, 1.15 * max(importance.share for _, importance in rows))


def pareto_front_figure(view: StudyView) -> Figure | None:
    """The trials that no other one beats in every metric, among all; one panel a pair of metrics."""
    if len(view.metrics) < 2 or not view.complete:
        return None
    pairs = list(itertools.combinations(range(len(view.metrics)), 2))
    num_columns = min(len(pairs), 3)
    num_rows = -(-len(pairs) // num_columns)
    size = (6.4, 5.4) if len(pairs) == 1 else (4.9 * num_columns, 0.8 + 4.4 * num_rows)
    figure = Figure(figsize=size, dpi=RESOLUTION_DPI, layout=layout())
    panels = figure.subplots(num_rows, num_columns, squeeze=False).ravel()
    for axes, (x, y) in zip(panels, pairs, strict=False):
        _front(axes, view, x, y)
    for unused in panels[len(pairs) :]:
        unused.remove()
    panels[0].set_title("Pareto front", fontsize=13, fontweight="bold", color=INK, loc="left", pad=12)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9.5, labelcolor=INK, frameon=False)
    return figure


def _front(axes: Axes, view: StudyView, x: int, y: int) -> None:
    label_axes(axes, "", *(f"{view.metrics[at]}  ({'more' if view.is_maximized(at) else 'less'} is better)" for at in (x, y)))
    front = sorted(view.study.best_trials, key=lambda trial: trial.values[x])
    numbers = {trial.number for trial in front}
    others = [(trial.values[x], trial.values[y]) for trial in view.complete if trial.number not in numbers]
    if others:
        axes.plot(
            *zip(*others, strict=True), linestyle="none", marker="o", markersize=5.5, color=PALE, markerfacecolor="white", label="beaten"
        )
    points = [(trial.values[x], trial.values[y]) for trial in front]
    if len(view.metrics) == 2:
        # Between two trials of the front, y is reached by the one that is better in x.
        style = "steps-pre" if view.is_maximized(x) else "steps-post"
        axes.plot(*zip(*points, strict=True), drawstyle=style, color=COLOURS[1], linewidth=1.2, alpha=0.6)
    axes.plot(*zip(*points, strict=True), linestyle="none", marker="o", markersize=6.5, color=COLOURS[1], label="front, by trial number")
    for place, (trial, point) in enumerate(zip(front, points, strict=True)):
        offset = (5, 5) if place % 2 else (5, -12)  # neighbours' numbers apart
        axes.annotate(str(trial.number), point, offset, textcoords="offset points", fontsize=9, color=INK)
    axes.margins(0.08)
