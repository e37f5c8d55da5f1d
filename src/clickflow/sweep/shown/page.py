"""Plotly figures as one HTML page that works offline.

Decision: the page contains Plotly's script, once (some 5 MB), so that it opens years later on a machine without a network.
"""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import plotly.graph_objects as go  # type: ignore[import-untyped]
from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

from clickflow.figures.style import COLOURS, INK

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


class Section(NamedTuple):
    """A figure with its heading and a sentence about it."""

    title: str
    text: str
    figure: go.Figure
    height: int = 440
    """Pixels."""


def as_page(title: str, summary: str, sections: Sequence[Section]) -> str:
    """The whole page as HTML; it fetches nothing."""
    html = "\n".join(_as_html(section) for section in sections)
    return PAGE.format(title=escape(title), summary=escape(summary), ink=INK, script=get_plotlyjs(), sections=html)


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
    figure.update_xaxes(automargin=True).update_yaxes(automargin=True, ticksuffix="  ")
    # A fixed id: otherwise the same study would give another page each time.
    place = "figure-" + "".join(letter if letter.isalnum() else "-" for letter in section.title)
    html = figure.to_html(full_html=False, include_plotlyjs=False, div_id=place, config={"displaylogo": False, "responsive": True})
    return f'<section>\n<h2>{escape(section.title)}</h2>\n<p>{escape(section.text)}</p>\n<div class="wide">{html}</div>\n</section>'
