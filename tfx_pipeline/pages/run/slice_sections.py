"""Sections of a run's page about parts of the test split: how well each is ranked, and where the model fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from matplotlib.axes import Axes

from tfx_pipeline.config.metrics import metric, outlined
from tfx_pipeline.evaluation.bootstrap import CONFIDENCE
from tfx_pipeline.evaluation.results import MetricValues, SplitMetrics
from tfx_pipeline.pages.kit.figures import INK, draw
from tfx_pipeline.pages.kit.page import Panel, Picture, Prose, Section, Table
from tfx_pipeline.pages.kit.palette import points
from tfx_pipeline.pages.kit.wording import between, count, decimal, percent
from tfx_pipeline.pages.run.scores import Scores
from tfx_pipeline.runners.run_warnings import calibration_off, says_nothing

_SLICES = {
    "item_frequency": "impressions of the candidate in train",
    "history_length": "items in the history of the request",
    "content": "content of the candidate",
    "user": "whether train had the user",
}


def slices_section(metrics: Mapping[str, SplitMetrics], scores: Scores | None) -> Section:
    """Metrics of the test split by slice, with intervals."""
    test = metrics["test"] if "test" in metrics else SplitMetrics({}, {})
    columns = [column for column in _SLICES if column in test.slices]
    if not columns:
        return Section("slices", "By slice", [Prose("The run has no slices of test.")])
    # A slice of one bucket has nothing to be compared with.
    drawn = [column for column in columns if sum(_has_auc(values) for values in test.slices[column].values()) > 1]
    panels = [_slice_panel(column, test, scores) for column in drawn]
    by_rank = next(name for name in outlined(test.overall) if name.startswith("ndcg"))
    rows = []
    for column in columns:
        for bucket, values in test.slices[column].items():
            bounds = scores.intervals.get((column, bucket), {}) if scores is not None else {}
            ranked = (decimal(values.get(name)) for name in ("gauc", by_rank))
            cells = (decimal(values.get("auc")), between(bounds.get("auc")), *ranked)
            rest = (
                decimal(values.get("calibration"), 3),
                percent(values["base_rate"] or 0, 2),
                count(values["example_count"] or 0),
            )
            rows.append((column.replace("_", " "), bucket, *cells, *rest))
    headers = ("slice", "bucket", "AUC (0.5 to 1)", f"{percent(CONFIDENCE, 0)} interval", "GAUC (0.5 to 1)")
    table = Table(
        "The test split by slice",
        (
            *headers,
            f"{metric(by_rank).title} ({metric(by_rank).unit})",
            "calibration (predicted / observed)",
            "click rate",
            "candidates",
        ),
        rows,
        numbers=7,
    )
    caption = (
        f"AUC of the test split by slice; {'bars are intervals, ' if scores is not None else ''}the dashed line is the "
        "whole split. AUC of two slices is comparable only as far as their candidates are: look for slices where the "
        "model falls behind what you expect of them. Cold items were never shown in train: of them the model knows "
        "their content alone."
    )
    return Section("slices", "By slice", [Picture(panels, caption), table] if panels else [table])


def _has_auc(values: MetricValues) -> bool:
    return values.get("auc") is not None


def _slice_panel(column: str, test: SplitMetrics, scores: Scores | None) -> Panel:
    aucs = {name: auc for name, values in test.slices[column].items() if (auc := values.get("auc")) is not None}

    def paint(axes: Axes) -> None:
        places = np.arange(len(aucs))
        for place, (bucket, auc) in zip(places, aucs.items(), strict=True):
            intervals = scores.intervals.get((column, bucket), {}) if scores is not None else {}
            low, high = intervals.get("auc", (auc, auc))
            if np.isfinite([low, high]).all():
                axes.plot([low, high], [place, place], color=points(0)["color"], linewidth=2)
            axes.plot([auc], [place], markersize=6, **points(0))
        if (whole := test.overall.get("auc")) is not None:
            axes.axvline(whole, color=INK, linestyle="--", linewidth=0.9)
        axes.set_yticks(places, list(aucs))
        axes.set_ylim(len(aucs) - 0.5, -0.5)
        axes.set_xlabel("AUC (0.5 is chance)")
        axes.set_title(_SLICES[column])

    return draw(f"slice-{column.replace('_', '-')}", f"AUC by {_SLICES[column]}", paint)


def failures_section(metrics: Mapping[str, SplitMetrics], scores: Scores | None) -> Section:
    """Slices that are ranked worse than the rest, or whose probabilities are far off."""
    anchor, title = "failures", "Where it fails"
    if "test" not in metrics:
        return Section(anchor, title, [Prose("The run was not evaluated.")])
    test = metrics["test"]
    total = test.overall.get("example_count") or 1.0
    rows = []
    for column, buckets in test.slices.items():
        for bucket, values in buckets.items():
            bounds = scores.intervals.get((column, bucket), {}).get("auc") if scores is not None else None
            if faults := list(_faults(values, bounds, test.overall.get("auc"))):
                number = values["example_count"] or 0
                figures = (decimal(values.get("auc")), decimal(values.get("calibration"), 3))
                name = f"{column.replace('_', ' ')}: {bucket}"
                rows.append((number, (name, "; ".join(faults), *figures, percent(number / total), count(number))))
    said = (
        "A slice is listed if its AUC is no better than chance, or its interval lies wholly below the AUC of the whole "
        "split, or its probabilities are further off than what a warning lets pass. Slices with too few clicks to say "
        "anything are left out."
    )
    if not rows:
        return Section(anchor, title, [Prose("No slice of test stands out.", "good"), Prose(said)])
    columns = (
        "slice",
        "what is wrong",
        "AUC (0.5 to 1)",
        "calibration (predicted / observed)",
        "of test",
        "candidates",
    )
    ordered = [row for _, row in sorted(rows, key=lambda entry: -entry[0])]
    return Section(
        anchor, title, [Table("Slices of test that fall behind, largest first", columns, ordered, 4), Prose(said)]
    )


def _faults(values: MetricValues, interval: tuple[float, float] | None, whole: float | None) -> Iterator[str]:
    """What is wrong with a slice, in words."""
    if says_nothing(values):
        return
    auc = values.get("auc")
    if auc is not None and auc <= 0.5:
        yield "ranked no better than by chance"
    elif interval is not None and whole is not None and interval[1] < whole:
        yield "ranked worse than the whole"
    if (ratio := calibration_off(values)) is not None:
        yield "promises too many clicks" if ratio > 1 else "promises too few clicks"
