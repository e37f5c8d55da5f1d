"""A sweep as one HTML page to look around in: Optuna's Plotly figures, and the best trials' curves over each other.

Decision: Plotly's script stands in the page, once (some 5 MB), so that an artifact opens years later on a machine without a network.
"""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import plotly.graph_objects as go  # type: ignore[import-untyped]
from optuna.study import Study
from optuna.trial import FrozenTrial
from optuna.visualization import plot_parallel_coordinate, plot_pareto_front, plot_slice
from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

from clickflow.figures.metric_figures import COLOURS, INK
from clickflow.metrics.curves import Curve
from clickflow.sweep.quiet import quietly
from clickflow.sweep.shown.importances import importances
from clickflow.sweep.shown.study_figures import PALE
from clickflow.sweep.shown.view import StudyView, view_of
from clickflow.sweep.space import SearchSpace

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: {ink}; max-width: 1200px; margin: 2rem auto; padding: 0 1.2rem; }}
h1 {{ font-size: 1.6rem; margin-bottom: 0.2rem; }}
h2 {{ font-size: 1.15rem; margin: 2.2rem 0 0.1rem; }}
p {{ margin: 0 0 0.4rem; color: #555; }}
.wide {{ overflow-x: auto; }}
.wide > div {{ min-width: 760px; }}
</style>
<script>{script}</script>
</head>
<body>
<h1>{title}</h1>
<p>{summary}</p>
{sections}
</body>
</html>
"""


HOVER = "%{text}<extra></extra>"
DASHES = ("solid", "dash", "dashdot", "dot")


class Section(NamedTuple):
    """A figure with its heading and what it shows."""

    title: str
    text: str
    figure: go.Figure
    height: int = 440
    """Pixels."""


def interactive_page(study: Study, space: SearchSpace, metrics: Sequence[str], curves: Mapping[str, tuple[Curve, Curve]]) -> str:
    """The page, whole in itself.

    Args:
        study: with any number of trials in any states.
        space: what it searches.
        metrics: names of its objectives.
        curves: label of a trial -> its ROC and its precision-recall curve; may be empty.

    Raises:
        ValueError: there are more or fewer metrics than objectives.
    """
    view = view_of(study, space, metrics)
    with quietly():
        sections = [_as_html(section) for section in [*_sections(view), *_curve_sections(curves)]]
    counts = f"{len(view.complete)} complete and {len(view.pruned)} pruned trials. Point at a mark for its trial and parameters."
    title = escape(f"Sweep {study.study_name}")
    return PAGE.format(title=title, summary=counts, ink=INK, script=get_plotlyjs(), sections="\n".join(sections))


def _sections(view: StudyView) -> Iterator[Section]:
    hovers = {trial.number: view.hover(trial) for trial in view.complete + view.pruned}
    if len(view.metrics) in (2, 3) and view.complete:
        text = "Filled trials are beaten by no other one in every metric."
        yield Section("Pareto front", text, _front(view, hovers), 560)
    if view.complete or view.pruned:
        for position, metric in enumerate(view.metrics):
            text = "Value of each trial and the best so far; hollow ones were pruned, with the value of their last validation."
            yield Section(f"History of {metric}", text, _history(view, position, hovers))
    if (bars := _importances(view)) is not None:
        text = "Share of what single parameters explain (fANOVA); one that only some trials have is measured among those."
        yield Section("Importances", text, bars)
    if not view.complete or not view.parameters:
        return
    yield Section("Parallel coordinates", "One line a complete trial, through its value on each axis.", _parallel(view), 480)
    for position, metric in enumerate(view.metrics):
        yield Section(f"{metric} over each parameter", "Later trials are darker.", _hovering(_slices(view, position), hovers), 380)


def _front(view: StudyView, hovers: Mapping[int, str]) -> go.Figure:
    figure = _hovering(plot_pareto_front(view.study, target_names=list(view.metrics)), hovers)
    beaten, front = figure.data
    beaten.marker = {"color": PALE, "symbol": "circle-open", "size": 8}
    front.marker = {"color": COLOURS[1], "size": 9}
    return figure


def _history(view: StudyView, position: int, hovers: Mapping[int, str]) -> go.Figure:
    """Drawn here, because Optuna's leaves pruned trials out, and the best so far where there are several metrics."""
    marks: list[tuple[str, Sequence[FrozenTrial], dict[str, Any]]] = [
        ("complete", view.complete, {"color": COLOURS[0], "size": 8}),
        ("pruned", view.pruned, {"color": PALE, "symbol": "circle-open", "size": 8}),
    ]
    figure = go.Figure(layout={"xaxis": {"title": "Trial"}, "yaxis": {"title": view.metrics[position]}})
    for name, trials, marker in marks:
        x, y = [trial.number for trial in trials], [trial.values[position] for trial in trials]
        text = [hovers[number] for number in x]
        figure.add_scatter(x=x, y=y, mode="markers", name=name, marker=marker, text=text, hovertemplate=HOVER)
    x, y = view.best_so_far(position)
    line = {"color": COLOURS[1], "shape": "hv", "width": 2}
    return figure.add_scatter(x=x, y=y, mode="lines", name="best so far", line=line, hoverinfo="skip")


def _importances(view: StudyView) -> go.Figure | None:
    bars = [
        go.Bar(y=[one.parameter for one in found], x=[one.share for one in found], orientation="h", name=metric, texttemplate="%{x:.2f}")
        for position, metric in enumerate(view.metrics)
        if (found := importances(view, position))
    ]
    layout = {"yaxis": {"autorange": "reversed"}, "xaxis": {"title": "Share"}, "showlegend": len(bars) > 1}
    return go.Figure(bars, layout) if bars else None


def _parallel(view: StudyView) -> go.Figure:
    """Each line says its trial; with several metrics its colour is the rank of its Pareto front, and so is its place in the drawing."""
    if len(view.metrics) > 1:
        return plot_parallel_coordinate(view.study)
    figure = plot_parallel_coordinate(view.study, target_name=view.metrics[0])
    for trace, trial in zip(figure.data, view.complete, strict=False):  # the last trace is the colour bar's
        trace.hovertemplate = f"Trial {trial.number}<br>{trace.hovertemplate}"
    return figure


def _slices(view: StudyView, position: int) -> go.Figure:
    figure = plot_slice(view.study, target=lambda trial: trial.values[position], target_name=view.metrics[position])
    for axis in figure.select_xaxes(lambda axis: axis.type == "category"):
        axis.categoryarray = [_unquoted(label) for label in axis.categoryarray]
    figure.update_xaxes(selector={"type": "log"}, dtick="D2")  # labels at 1, 2 and 5
    for trace in figure.data:
        trace.x = [_unquoted(value) for value in trace.x]
    width = len(figure.data) * 200 if len(figure.data) > 6 else None  # wider than the page: the section scrolls
    return figure.update_layout(width=width).update_traces(marker={"size": 8, "colorscale": "Viridis", "reversescale": True})


def _unquoted(value: Any) -> Any:
    """A text that Optuna shows as Python writes it."""
    return value[1:-1] if isinstance(value, str) and value[:1] in {"'", '"'} else value


def _hovering(figure: go.Figure, hovers: Mapping[int, str]) -> go.Figure:
    """The figure with each mark's trial to be pointed at; Optuna gives the trial's number as the mark's colour."""
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


def _as_html(section: Section) -> str:
    figure = section.figure
    figure.update_layout(
        title=None,
        template="plotly_white",
        height=section.height,
        margin={"l": 70, "r": 30, "t": 40, "b": 60},
        colorway=COLOURS,
        font={"color": INK, "size": 13},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )
    figure.update_xaxes(automargin=True).update_yaxes(automargin=True)
    # Without a fixed name for its place, the same study would give another page each time.
    place = "figure-" + "".join(letter if letter.isalnum() else "-" for letter in section.title)
    html = figure.to_html(full_html=False, include_plotlyjs=False, div_id=place, config={"displaylogo": False, "responsive": True})
    return f'<section>\n<h2>{escape(section.title)}</h2>\n<p>{escape(section.text)}</p>\n<div class="wide">{html}</div>\n</section>'
