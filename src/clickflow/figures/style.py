"""The look that all figures share: colours, resolution, layout and axes.

Decision: matplotlib's object interface and no ``pyplot``. A ``Figure`` made this way belongs to its caller alone: nothing is registered
globally, nothing has to be closed, no display is needed, and threads may draw at the same time.
"""

from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.layout_engine import ConstrainedLayoutEngine

# Okabe & Ito (2008), distinct under every form of colour blindness; from the eighth curve on the line style distinguishes.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
FIRST_TO_LAST = colormaps["viridis"]
"""Dark is the first layer; the yellow end, which is invisible on white, is left out."""
INK = "#333333"
LINE_STYLES = ("-", "--", "-.", ":")
POINTS: dict[str, Any] = {"fmt": "o", "color": COLOURS[0], "markersize": 4.5, "elinewidth": 1.2, "capsize": 3, "capthick": 1.2}
REFERENCE: dict[str, Any] = {"color": "#8A8A8A", "linewidth": 1.2, "linestyle": (0, (4, 3)), "zorder": 1.9}
RESOLUTION_DPI = 150


def layout() -> ConstrainedLayoutEngine:
    """Constrained layout with padding in inches; compressed, so that panels of fixed aspect have equal widths."""
    return ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12, compress=True)


def label_axes(axes: Axes, title: str, x_label: str, y_label: str) -> None:
    """Set title and labels, draw a light grid behind the data and no box around it."""
    axes.set_title(title, fontsize=13, fontweight="bold", color=INK, loc="left", pad=12)
    axes.set_xlabel(x_label, fontsize=10.5, color=INK)
    axes.set_ylabel(y_label, fontsize=10.5, color=INK)
    axes.grid(color="#E6E6E6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=9.5, length=0, pad=6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#BBBBBB")
