"""Drawings as inline SVG that takes the colours of the page around it.

Matplotlib draws with one sentinel colour for ink and the house palette for data; both become CSS variables, so that
one picture reads in print, in light and in dark mode. Text stays text: it can be searched and scales with the page.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from tfx_pipeline.pages.kit.page import Panel
from tfx_pipeline.pages.kit.palette import COLOURS

PANEL_SIZE = (4.4, 2.9)
WIDE_SIZE = (11.4, 3.1)

_MOST_COLUMNS = 8
# A colour nothing else has; it becomes the colour of the text around the picture.
_INK = "#010203"
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _INK,
    "grid.alpha": 0.16,
    "grid.linewidth": 0.6,
    "figure.facecolor": "none",
    "legend.columnspacing": 1.4,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "legend.labelcolor": _INK,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}
INK = _INK


def draw(name: str, title: str, paint: Callable[[Axes], None], size: tuple[float, float] = PANEL_SIZE) -> Panel:
    """Draws one picture. What has a label is named by a legend above the plot, which so covers no curve.

    Args:
        name: of the picture, a word that no other on the page has: ids inside the SVG begin with it.
        title: what the picture shows, for those who do not see it.
        paint: draws on the axes that it is given; colours of data come from `palette`, `INK` is that of text.
        size: width and height in inches; `WIDE_SIZE` fills the width of a page.
    """
    style: dict[Any, Any] = {**_STYLE, "svg.hashsalt": name}
    with mpl.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        paint(figure.add_subplot())
        _add_legend(figure)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return Panel(_inline(file.getvalue(), name, title), wide=size[0] > PANEL_SIZE[0])


def _add_legend(figure: Figure) -> None:
    """In as many columns as are not wider than the figure, which grows by every row but the first."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    for columns in range(min(len(labels), _MOST_COLUMNS), 0, -1):
        legend = figure.legend(handles, labels, loc="outside upper left", ncols=columns, borderaxespad=0.2)
        box = legend.get_window_extent()
        if box.width <= figure.bbox.width or columns == 1:
            rows = -(-len(labels) // columns)
            figure.set_figheight(figure.get_figheight() + box.height / figure.dpi * (rows - 1) / rows)
            return
        legend.remove()


def _inline(svg: str, name: str, title: str) -> Markup:
    """An SVG document as an element of an HTML page."""
    svg = svg[svg.index("<svg") :]
    # Matplotlib's own style sheet would hold for the whole page; the page has its rules.
    svg = re.sub(r"<(metadata|style)\b.*?</\1>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r'font-family: [^;"]+(; )?', "", svg)
    svg = svg.replace(_INK, "currentColor")
    for number, colour in enumerate(COLOURS, start=1):
        svg = svg.replace(colour, f"var(--series-{number})")
    tag, rest = svg.split(">", 1)
    # The size is the page's: only the proportions are the picture's own.
    tag = re.sub(r'\s(width|height|version|xmlns(:\w+)?)="[^"]*"', "", tag)
    title_id = f"{name}-title"
    return Markup(  # Matplotlib has escaped what it wrote
        f'{tag} role="img" aria-labelledby="{title_id}"><title id="{title_id}">{escape(title)}</title>{rest}'
    )


def label_points(axes: Axes, labelled: list[tuple[float, float, str]]) -> None:
    """Writes names to the right of the axes, in the order of their points and never on one another.

    Args:
        axes: drawn and scaled.
        labelled: x, y and name of each point.
    """
    low, high = axes.get_ylim()
    order = sorted(labelled, key=lambda one: one[1])
    places = apart([(y - low) / (high - low) for _, y, _ in order])
    for (x, y, name), place in zip(order, places, strict=True):
        axes.annotate(
            name,
            (x, y),
            (1.02, place),
            textcoords="axes fraction",
            fontsize=9.5,
            va="center",
            arrowprops={"arrowstyle": "-", "color": _INK, "alpha": 0.35, "linewidth": 0.6, "shrinkB": 4},
        )


def apart(places: list[float], height: float = 0.085) -> list[float]:
    """Rising places in [0, 1], moved as little as it takes to lie `height` apart, or evenly where they are too many."""
    height = min(height, 1 / max(len(places) - 1, 1))
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + height) if moved else max(place, 0.0))
    top = 1.0
    for number in range(len(moved) - 1, -1, -1):
        moved[number] = min(moved[number], top)
        top = moved[number] - height
    return moved
