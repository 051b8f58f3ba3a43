"""Latencies as a picture: how they are distributed, and what the slowest requests wait."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from tfx_pipeline.files.writing import writing
from tfx_pipeline.pages.kit.palette import line

_BINS = 60
_SHARES = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99)


def draw_latencies(series: Mapping[str, np.ndarray], path: Path, title: str) -> None:
    """Draws a histogram and a percentile curve of every series; the file appears whole.

    Args:
        series: latencies in seconds, at least one each, by the name for the legend.
        path: of the PNG.
        title: above both.
    """
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    histogram, curve = figure.subplots(1, 2)
    milliseconds = {label: 1000 * np.sort(values) for label, values in series.items()}
    smallest = min(values[0] for values in milliseconds.values())
    largest = max(values[-1] for values in milliseconds.values())
    bins = np.geomspace(0.95 * smallest, 1.05 * largest, _BINS + 1)
    for number, (label, values) in enumerate(milliseconds.items()):
        look = line(number)
        histogram.hist(values, bins, histtype="step", linewidth=1.4, label=label, **look)
        # The slowest of n requests stands for the share (n - 1/2) / n.
        slower = 1 - (np.arange(len(values)) + 0.5) / len(values)
        curve.plot(1 / slower, values, linewidth=1.4, label=label, **look)
    histogram.set(xscale="log", xlabel="milliseconds", ylabel="requests")
    curve.set(xscale="log", xlim=(1, None), yscale="log", xlabel="percentile of requests", ylabel="milliseconds")
    most = max(len(values) for values in milliseconds.values())
    shares = [share for share in _SHARES if 100 / (100 - share) <= 2 * most]
    curve.set_xticks([100 / (100 - share) for share in shares], [f"{share:g}" for share in shares])
    curve.set_xticks([], minor=True)
    histogram.yaxis.set_major_locator(MaxNLocator(integer=True))
    _plain_ticks(histogram.xaxis)
    _plain_ticks(curve.yaxis)
    for axes in (histogram, curve):
        axes.grid(alpha=0.3)
    if len(milliseconds) > 1:
        handles, labels = curve.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
    with writing(path) as file:
        figure.savefig(file, format="png", dpi=200)


def _plain_ticks(axis: Axis) -> None:
    """Numbers as they are read (20, 50, 100) in place of powers of ten."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())
