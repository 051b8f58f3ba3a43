"""What a training measured after each epoch, as curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tfx_pipeline.pages.kit.figures import INK, draw
from tfx_pipeline.pages.kit.page import Panel
from tfx_pipeline.pages.kit.palette import line, points


def epoch_curves(
    name: str, title: str, label: str, curves: Mapping[str, Sequence[float]], best: int | None = None
) -> Panel:
    """Values by epoch.

    Args:
        name: of the drawing, one of a kind on the page.
        title: for who cannot see it.
        label: of the axis of values.
        curves: by their names in the legend, a value for each epoch.
        best: the epoch that is marked, from 0; None: none is.
    """

    def paint(axes: Axes) -> None:
        for number, (curve, values) in enumerate(curves.items()):
            axes.plot(np.arange(1, len(values) + 1), values, label=curve, **line(number) | points(number))
        if best is not None:
            axes.axvline(best + 1, color=INK, linewidth=0.9, linestyle=":")
            place = (best + 1, 1)
            axes.annotate("best", place, (0, 2), axes.get_xaxis_transform(), "offset points", ha="center", va="bottom")
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.margins(y=0.15)

    return draw(name, title, paint)
