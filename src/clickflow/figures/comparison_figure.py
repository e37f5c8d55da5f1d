"""Figure of a comparison: for each model its seeds, their mean, and the value that the paper reports."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clickflow.figures.style import COLOURS, INK, REFERENCE, RESOLUTION_DPI, label_axes, layout

HEIGHT_PER_MODEL = 0.42  # inches


def comparison_figure(
    values: Mapping[str, Mapping[str, Sequence[float]]], published: Mapping[str, Mapping[str, float]], base: str
) -> Figure:
    """Draw one panel per metric with one line per model, in the given order from the top.

    Args:
        values: heading of the metric -> label of the model -> one value per seed.
        published: heading of the metric -> label of the model -> the paper's value; labels may be missing.
        base: label of the model that the others are compared with; its mean is a vertical line, if it is among the models.
    """
    labels = list(next(iter(values.values())))
    figure = Figure(figsize=(5.2 * len(values), 1.6 + HEIGHT_PER_MODEL * len(labels)), dpi=RESOLUTION_DPI, layout=layout())
    panels = np.atleast_1d(figure.subplots(1, len(values), sharey=True))
    for axes, (heading, of_models) in zip(panels, values.items(), strict=True):
        _draw(axes, heading, of_models, published.get(heading, {}), base)
    panels[0].set_yticks(range(len(labels)), labels)
    panels[0].set_ylim(len(labels) - 0.5, -0.5)
    handles = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, fontsize=9.5, labelcolor=INK, frameon=False)
    return figure


def _draw(axes: Axes, heading: str, values: Mapping[str, Sequence[float]], published: Mapping[str, float], base: str) -> None:
    label_axes(axes, f"{heading} on the test split", heading, "")
    rows = {label: row for row, label in enumerate(values)}
    if base in values:
        axes.axvline(float(np.mean(values[base])), label=f"mean of {base}", **REFERENCE)
    for label, of_seeds in values.items():
        axes.plot([min(of_seeds), max(of_seeds)], [rows[label]] * 2, color=COLOURS[0], linewidth=2, alpha=0.35, solid_capstyle="round")
    seeds = [(value, rows[label]) for label, of_seeds in values.items() for value in of_seeds]
    axes.plot(*zip(*seeds, strict=True), linestyle="none", marker="o", markersize=4, color=COLOURS[0], alpha=0.45, label="one seed")
    means = [(float(np.mean(of_seeds)), rows[label]) for label, of_seeds in values.items()]
    axes.plot(*zip(*means, strict=True), linestyle="none", marker="o", markersize=7.5, color=COLOURS[0], label="mean over seeds")
    for mean, row in means:
        axes.text(1.02, row, f"{mean:.4f}", transform=axes.get_yaxis_transform(), va="center", fontsize=9, color=INK)
    if published:
        points = [(value, rows[label]) for label, value in published.items()]
        axes.plot(
            *zip(*points, strict=True), linestyle="none", marker="D", markersize=6, color=COLOURS[1], fillstyle="none", label="published"
        )
