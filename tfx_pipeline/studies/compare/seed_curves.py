"""What trainings measured after each epoch, a curve per seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from tfx_pipeline.pages.kit.figures import WIDE_SIZE, draw
from tfx_pipeline.pages.kit.page import Panel
from tfx_pipeline.pages.kit.palette import line, points


def seed_curves(title: str, label: str, curves: Mapping[str, Sequence[Sequence[float | None]]]) -> Panel:
    """Values by epoch, as wide as the page; the seeds of one label look alike and have one line in the legend.

    Args:
        title: for who cannot see it.
        label: of the axis of values.
        curves: by label, of each seed a value for each epoch; None where there is none.
    """

    def paint(axes: Axes) -> None:
        for number, (name, by_seed) in enumerate(curves.items()):
            unnamed: str | None = name
            for values in by_seed:
                known = [(epoch, value) for epoch, value in enumerate(values, start=1) if value is not None]
                if known:
                    look = line(number) | points(number)
                    axes.plot(*zip(*known, strict=True), label=unnamed, markersize=3, linewidth=1, **look)
                    unnamed = None
        axes.set(xlabel="epoch", ylabel=label)
        axes.locator_params(axis="x", integer=True)

    return draw("curves", title, paint, WIDE_SIZE)
