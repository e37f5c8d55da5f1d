"""Attention weights of a few impressions over their histories, as in the figure of the DIN paper.

Weights are drawn unchanged. Those of DIN are neither normalised nor positive, and their sum is the intensity of the interest, so all
panels share one axis with a line at zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from clickflow.figures.style import COLOURS, INK, RESOLUTION_DPI, label_axes

ACCENT, OTHERS = COLOURS[1], "#A9B8C6"
COLUMNS = 2
BAR_INCHES = 0.23
AROUND_BARS_INCHES = 1.3
"""Title, ticks and label of a panel."""


@dataclass(frozen=True)
class AttentionSample:
    """Names of one impression's target and of H of its behaviours, oldest first, with label and prediction as text."""

    target: str
    outcome: str
    behaviours: Sequence[str]
    weights: npt.NDArray[np.floating]  # (H,)
    is_alike: npt.NDArray[np.bool_]  # (H,): of the target's kind


def attention_figure(samples: Sequence[AttentionSample], kind: str) -> Figure:
    """Draw one panel of horizontal bars per sample, of which there is at least one, with the oldest behaviour on top.

    ``kind`` is the field whose value behaviours of the target's kind share with it, such as ``category``.
    """
    columns = min(COLUMNS, len(samples))
    most = [max(len(one.weights) for one in samples[start : start + columns]) for start in range(0, len(samples), columns)]
    size = (6.2 * columns, 1.0 + sum(AROUND_BARS_INCHES + BAR_INCHES * bars for bars in most))
    figure = Figure(figsize=size, dpi=RESOLUTION_DPI, layout=ConstrainedLayoutEngine(w_pad=0.14, h_pad=0.12))
    panels = figure.subplots(len(most), columns, sharex=True, squeeze=False, height_ratios=most).ravel()
    for position, (axes, sample) in enumerate(zip(panels, samples, strict=False)):
        _draw(axes, sample, most[position // columns])
    for axes in panels[len(samples) :]:
        axes.set_visible(False)
    handles = [Patch(color=ACCENT, label=f"Same {kind} as the target"), Patch(color=OTHERS, label=f"Another {kind}")]
    figure.suptitle("Attention to each behaviour, oldest to newest", fontsize=13, fontweight="bold", color=INK, x=0.015, ha="left")
    figure.legend(handles=handles, loc="outside lower left", ncols=2, fontsize=9.5, labelcolor=INK, frameon=False)
    return figure


def _draw(axes: Axes, sample: AttentionSample, most: int) -> None:
    positions = np.arange(len(sample.weights))
    colours = [ACCENT if alike else OTHERS for alike in sample.is_alike]
    axes.barh(positions, sample.weights, color=colours, height=0.72, zorder=2)
    axes.axvline(0, color=INK, linewidth=0.9, zorder=3)
    label_axes(axes, "", "Attention weight", "")
    # The names are the user's: a $ is a $.
    axes.set_title(f"{sample.target}\n{sample.outcome}", fontsize=10.5, color=INK, loc="left", parse_math=False)
    axes.set_yticks(positions, sample.behaviours, fontsize=8.5, parse_math=False)
    axes.set_ylim(most - 0.4, -0.6)  # bars of one thickness in all panels of a row
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.tick_params(axis="x", labelbottom=True)
