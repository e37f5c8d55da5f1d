"""The figures of a sweep's page: Optuna's own Plotly plots, and the best trials' curves over each other."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go  # type: ignore[import-untyped]
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial
from optuna.visualization import plot_parallel_coordinate, plot_pareto_front, plot_slice

from clickflow.figures.style import COLOURS
from clickflow.metrics.curves import Curve
from clickflow.sweep.quiet import quietly
from clickflow.sweep.shown.importances import importances
from clickflow.sweep.shown.page import Section, as_page
from clickflow.sweep.shown.view import StudyView, measured, view_of
from clickflow.sweep.space import SearchSpace

HOVER = "%{text}<extra></extra>"
DASHES = ("solid", "dash", "dashdot", "dot")
PALE = "#9AA5B1"
MOST_SLICES = 5
"""Parameters beside each other in one figure."""
MARGIN = 0.05
"""Empty share of an axis beyond each end of what is searched."""


def interactive_page(study: Study, space: SearchSpace, metrics: Sequence[str], curves: Mapping[str, tuple[Curve, Curve]]) -> str:
    """The whole page as HTML, with any number of trials in any states, and the ROC and precision-recall curves of some of them."""
    view = view_of(study, space, metrics)
    summary = f"{len(view.complete)} complete and {len(view.pruned)} pruned trials. Point at a mark for its trial and parameters."
    with quietly():
        return as_page(f"Sweep {study.study_name}", summary, [*_sections(view), *_curve_sections(curves)])


def _sections(view: StudyView) -> Iterator[Section]:
    hovers = {trial.number: view.hover(trial) for trial in view.complete + view.pruned}
    yield from _fronts(view, hovers)
    if hovers:
        for position, metric in enumerate(view.metrics):
            text = "Value of each trial and the best so far; hollow marks are pruned trials, at the value of their last validation."
            yield Section(f"History of {metric}", text, _history(view, position, hovers))
    yield from _importances(view)
    if not view.complete or not view.parameters:
        return
    text = "One line per complete trial, through its value on each axis. None: the trial does not have the parameter."
    yield Section("Parallel coordinates", text, _parallel(view), 480)
    for position, metric in enumerate(view.metrics):
        for names in np.array_split(sorted(view.parameters), math.ceil(len(view.parameters) / MOST_SLICES)):
            figure = _hovering(_slices(view, position, [str(name) for name in names]), hovers)
            yield Section(f"{metric} by {', '.join(names)}", "Each axis spans what is searched. Later trials are darker.", figure, 360)


def _fronts(view: StudyView, hovers: Mapping[int, str]) -> Iterator[Section]:
    """One section per pair of metrics; the front is that of all metrics together."""
    for pair in itertools.combinations(range(len(view.metrics)), 2) if view.complete else ():
        names = [view.metrics[at] for at in pair]
        figure = plot_pareto_front(view.study, target_names=names, targets=partial(_values_at, pair))
        beaten, front = _hovering(figure, hovers).data
        beaten.name, beaten.marker = "beaten by another trial", {"color": PALE, "symbol": "circle-open", "size": 8}
        front.name, front.marker = "Pareto front", {"color": COLOURS[1], "size": 9}
        x, y = (f"{view.metrics[at]} ({'more' if view.is_maximized(at) else 'less'} is better)" for at in pair)
        figure.update_traces(showlegend=True).update_layout(xaxis_title=x, yaxis_title=y)
        among = "" if len(view.metrics) == 2 else f": {' and '.join(names)}"
        yield Section(f"Pareto front{among}", "No other trial is at least as good in every metric and better in one.", figure, 560)


def _values_at(positions: Sequence[int], trial: FrozenTrial) -> list[float]:
    return [trial.values[position] for position in positions]


def _history(view: StudyView, position: int, hovers: Mapping[int, str]) -> go.Figure:
    """Optuna's own plot leaves out pruned trials, and the best so far where there are several metrics."""
    marks: list[tuple[str, Sequence[FrozenTrial], dict[str, Any]]] = [
        ("complete", view.complete, {"color": COLOURS[0], "size": 8}),
        ("pruned", view.pruned, {"color": PALE, "symbol": "circle-open", "size": 8}),
    ]
    figure = go.Figure(layout={"xaxis": {"title": "Trial"}, "yaxis": {"title": view.metrics[position]}, "showlegend": True})
    for name, trials, marker in marks:
        x, y = [trial.number for trial in trials], [trial.values[position] for trial in trials]
        text = [hovers[number] for number in x]
        figure.add_scatter(x=x, y=y, mode="markers", name=name, marker=marker, text=text, hovertemplate=HOVER)
    if not view.complete:
        return figure
    best = view.best(position)
    x, y = view.best_so_far(position)
    name = f"best so far: {measured(best.values[position])}, trial {best.number}"
    line = {"color": COLOURS[1], "shape": "hv", "width": 2}
    return figure.add_scatter(x=x, y=y, mode="lines", name=name, line=line, hoverinfo="skip")


def _importances(view: StudyView) -> Iterator[Section]:
    bars = [
        go.Bar(y=[one.parameter for one in found], x=[one.share for one in found], orientation="h", name=metric)
        for position, metric in enumerate(view.metrics)
        if (found := importances(view, position))
    ]
    if not bars:
        return
    figure = go.Figure(bars, {"yaxis": {"autorange": "reversed"}, "xaxis": {"title": "Share"}, "showlegend": len(bars) > 1})
    figure.update_traces(texttemplate="%{x:.2f}", textposition="outside", cliponaxis=False)
    text = "Share of what single parameters explain (fANOVA); a parameter that only some trials have is measured among those."
    yield Section("Importances", text, figure, 130 + 24 * sum(len(bar.y) for bar in bars))


def _parallel(view: StudyView) -> go.Figure:
    """Each line names its trial; with several metrics its colour is the rank of its Pareto front."""
    figure = plot_parallel_coordinate(view.study, target_name=view.metrics[0])
    figure.update_annotations(bgcolor="rgba(255, 255, 255, 0.75)")
    figure.update_xaxes(ticktext=[*view.metrics, *sorted(view.parameters)])  # Optuna cuts long names
    if len(view.metrics) == 1:
        for trace, trial in zip(figure.data, _as_drawn(view), strict=False):  # the last trace is the colour bar's
            trace.hovertemplate = f"Trial {trial.number}<br>{trace.hovertemplate}"
    return figure


def _as_drawn(view: StudyView) -> list[FrozenTrial]:
    """The trials in the order of their lines: Optuna sorts them by the choices among numbers."""
    choices = {name: view.distribution(name) for name in sorted(view.parameters)}
    numeric = [
        name
        for name, choice in choices.items()
        if isinstance(choice, CategoricalDistribution) and all(isinstance(value, int | float) for value in choice.choices)
    ]
    return sorted(view.complete, key=lambda trial: [trial.params.get(name, -math.inf) for name in numeric])


def _slices(view: StudyView, position: int, names: Sequence[str]) -> go.Figure:
    """The metric over each of some parameters, which are in alphabetical order."""
    figure = plot_slice(view.study, list(names), target=lambda trial: trial.values[position], target_name=view.metrics[position])
    for axis, name in zip(figure.select_xaxes(), names, strict=True):
        distribution = view.distribution(name)
        if isinstance(distribution, FloatDistribution | IntDistribution):
            axis.update(_searched_range(distribution.low, distribution.high, is_log=distribution.log))
        else:
            axis.categoryarray = [_unquoted(label) for label in axis.categoryarray]
    for trace in figure.data:
        trace.x = [_unquoted(value) for value in trace.x]
    return figure.update_layout(width=None).update_traces(marker={"size": 8, "colorscale": "Viridis", "reversescale": True})


def _searched_range(low: float, high: float, *, is_log: bool) -> dict[str, Any]:
    """An axis over what is searched: a best value at the end of its range is visible as one."""
    if is_log:
        low, high = math.log10(low), math.log10(high)
    decades = {"exponentformat": "power", "dtick": math.ceil((high - low) / 3) if high - low >= 2 else "D2"} if is_log else {}
    margin = MARGIN * (high - low)
    return decades | ({"range": [low - margin, high + margin]} if margin else {})


def _unquoted(value: Any) -> Any:
    """A text without the quotes of its ``repr``, which is what Optuna shows."""
    return value[1:-1] if isinstance(value, str) and value[:1] in {"'", '"'} else value


def _hovering(figure: go.Figure, hovers: Mapping[int, str]) -> go.Figure:
    """The figure with each mark's trial as its hover text; Optuna encodes the trial's number as the mark's colour."""
    for trace in figure.data:
        numbers = trace.marker.color
        if numbers is not None and not isinstance(numbers, str):
            trace.update(text=[hovers[number] for number in numbers], hovertemplate=HOVER)
    return figure


def _curve_sections(curves: Mapping[str, tuple[Curve, Curve]]) -> Iterator[Section]:
    if not curves:
        return
    for place, title, x_title, y_title in (
        (0, "ROC curves of the best trials", "False positive rate", "True positive rate"),
        (1, "Precision-recall curves of the best trials", "Recall", "Precision"),
    ):
        figure = go.Figure(layout={"xaxis": {"title": x_title, "range": [0, 1]}, "yaxis": {"title": y_title}, "showlegend": True})
        for position, (label, of_trial) in enumerate(curves.items()):
            curve = of_trial[place]
            line = {"color": COLOURS[position % len(COLOURS)], "width": 2, "dash": DASHES[position // len(COLOURS) % len(DASHES)]}
            figure.add_scatter(x=curve.x, y=curve.y, mode="lines", name=escape(label), line=line)
        yield Section(title, "On the validation split. Click on a name in the legend to hide its curve.", figure, 560)
