"""Differences to a reference on a page: forest plots, with intervals and seeds, cells of a table, a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from tfx_pipeline.pages.kit.figures import INK, PANEL_SIZE, draw
from tfx_pipeline.pages.kit.page import Panel
from tfx_pipeline.pages.kit.palette import points
from tfx_pipeline.pages.kit.wording import decimal, listed, percent, signed
from tfx_pipeline.studies.compare.report import Bootstrap, Difference

_TONES = {"ahead": 2, "behind": 1, "undecided": 0, "one seed": 0}
_SIDES = {"ahead": "ahead of it", "behind": "behind it", "undecided": "not told apart from it"}
# For the caption of such plots.
MARKS = (
    "Triangles are ahead, squares behind: the interval leaves out 0 and all seeds agree. Circles are undecided, and so "
    "is every difference of one seed."
)
_ROW_INCHES = 0.28


@dataclass(frozen=True)
class Forest:
    """One plot.

    Attributes:
        name: a word that no other picture of the page has.
        metric: whose differences they are, as a reader knows it.
        found: differences by label, a row each.
        title: above the plot, where there are several of one metric.
    """

    name: str
    metric: str
    found: Mapping[str, Difference]
    title: str = ""


def headers(bootstrap: Bootstrap) -> tuple[str, ...]:
    """Of the columns of `cells`."""
    interval = f"{percent(bootstrap.confidence, 0)} interval"
    return "verdict", "difference", f"{interval}, from", "to", "std over seeds"


def cells(one: Difference | None) -> tuple[str, ...]:
    """A difference in a table; dashes where there is none."""
    if one is None:
        return ("–",) * 5
    return one.verdict, signed(one.mean), signed(one.low), signed(one.high), decimal(one.std)


def sides(found: Mapping[str, Difference]) -> str:
    """Who is ahead of the reference, who behind, by label, as a part of a sentence."""
    by_side = {
        said: [label for label, one in found.items() if one.verdict == verdict] for verdict, said in _SIDES.items()
    }
    return "; ".join(f"{said}: {listed(labels)}" for said, labels in by_side.items() if labels)


def forests(plots: Sequence[Forest], reference: str, *, one_scale: bool = False) -> list[Panel]:
    """Draws them.

    Args:
        plots: of differences to one reference.
        reference: its label.
        one_scale: whether all have the same horizontal axis.
    """
    limits = None
    if one_scale:
        every = [end for plot in plots for one in plot.found.values() for end in (one.low, one.mean, one.high)]
        ends = [0.0, *(end for end in every if end is not None)]
        margin = 0.05 * (max(ends) - min(ends))
        limits = (min(ends) - margin, max(ends) + margin)
    return [_drawn(plot, reference, limits) for plot in plots]


def _drawn(plot: Forest, reference: str, limits: tuple[float, float] | None) -> Panel:
    """A row per label: mean, interval and seeds."""
    found = plot.found

    def paint(axes: Axes) -> None:
        for place, one in enumerate(found.values()):
            look = points(_TONES[one.verdict])
            if one.low is not None and one.high is not None:
                axes.plot([one.low, one.high], [place, place], color=look["color"], linewidth=2)
            seeds = [value for value in one.by_seed if value is not None]
            axes.plot(seeds, [place + 0.22] * len(seeds), "|", color=INK, markersize=4, alpha=0.6)
            if one.mean is not None:
                axes.plot([one.mean], [place], markersize=6, **look)
        axes.axvline(0, color=INK, linestyle="--", linewidth=0.9)
        axes.set_yticks(range(len(found)), list(found))
        axes.set_ylim(len(found) - 0.4, -0.6)
        axes.set_xlabel(f"difference in {plot.metric}")
        axes.locator_params(axis="x", nbins=5)
        if limits is not None:
            axes.set_xlim(limits)
        if plot.title:
            axes.set_title(plot.title)

    size = (PANEL_SIZE[0], 1.0 + _ROW_INCHES * max(len(found), 2))
    return draw(plot.name, f"Difference in {plot.metric} to {reference} {plot.title}".strip(), paint, size)
