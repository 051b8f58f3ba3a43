"""Metrics of a model's quality, by name: those that a configuration may name, and what tables and pages show of them.

`tfx_pipeline.evaluation.metrics` computes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple


class Metric(NamedTuple):
    """How a metric is read.

    Attributes:
        title: its name on a page.
        unit: or range, in words.
        lower_is_better: of two models.
        shown: in summaries, comparisons and pages; any metric can have thresholds.
    """

    title: str
    unit: str
    lower_is_better: bool = False
    shown: bool = True


METRICS = {
    "auc": Metric("AUC", "0.5 to 1"),
    "gauc": Metric("GAUC", "0.5 to 1"),
    "gauc_equal": Metric("GAUC of equal users", "0.5 to 1", shown=False),
    "log_loss": Metric("log loss", "nats", lower_is_better=True),
    "normalized_entropy": Metric("normalised entropy", "share of the base rate's", lower_is_better=True),
    "calibration": Metric("calibration", "predicted / observed clicks"),
}
SHOWN = tuple(name for name, metric in METRICS.items() if metric.shown)
# What models are compared and tuned by, the first before all: each has intervals of its differences.
COMPARED = ("gauc", "auc", "log_loss")

if TYPE_CHECKING:
    MetricName = str
    ComparedMetric = str
else:  # so that a configuration's unknown name is refused with the list of those that exist
    MetricName = Literal[tuple(METRICS)]
    ComparedMetric = Literal[COMPARED]
