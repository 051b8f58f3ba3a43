"""Sections of a run's page about its model: how it learned, how well it ranks, and whether its numbers are true."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from dmf_keras.metrics import reliability
from tfx_pipeline.config.metrics import COMPARED, METRICS, SHOWN, by_request, cut_offs, metric, objectives_in
from tfx_pipeline.evaluation.bootstrap import CONFIDENCE
from tfx_pipeline.evaluation.results import SplitMetrics
from tfx_pipeline.files import artifact_files
from tfx_pipeline.pages.kit.figures import INK, draw
from tfx_pipeline.pages.kit.page import Block, Figure, Panel, Picture, Prose, Section, Table
from tfx_pipeline.pages.kit.palette import line, points
from tfx_pipeline.pages.kit.wording import between, count, decimal, percent
from tfx_pipeline.pages.run.baselines_section import Rankers
from tfx_pipeline.pages.run.epoch_curves import epoch_curves
from tfx_pipeline.pages.run.finished_run import FinishedRun
from tfx_pipeline.pages.run.scores import OVERALL, Intervals, Scores, click_share_intervals
from tfx_pipeline.training.chance import eval_aucs
from tfx_pipeline.training.trainer import TrainingResult

_BINS = 15


def training_section(run: FinishedRun) -> Section:
    """Learning curves."""
    training = run.record(TrainingResult, "RankingTrainer", "model_run", artifact_files.TRAINING_RESULT)
    if training is None:
        return Section("training", "Learning curves", [Prose("The run has trained no model.")])
    history, best = training.history, training.best_epoch
    settings = run.section("training")

    def curves(metric: str, label: str) -> Panel:
        splits = {
            split: [epoch[key] for epoch in history] for split, key in (("train", metric), ("eval", f"val_{metric}"))
        }
        return epoch_curves(
            f"curve-{metric}", f"{label} of train and eval by epoch; best epoch {best + 1}", label, splits, best
        )

    # Of training alone: an evaluation has none.
    auxiliary = [name for name in history[best] if name.startswith("loss/")]

    def auxiliary_curves() -> Panel:
        losses = {name.removeprefix("loss/"): [epoch[name] for epoch in history] for name in auxiliary}
        return epoch_curves(
            "curve-auxiliary", "auxiliary losses of train by epoch", "auxiliary losses, unweighted", losses
        )

    stopped = (
        f"Training stopped after {len(history)} of at most {settings['epochs']} epochs; "
        if settings and len(history) < settings["epochs"]
        else f"{len(history)} epochs; "
    )
    chosen = "eval AUC is highest"
    if len(eval_aucs(history[best])) > 1:
        chosen = "the mean of the objectives' eval AUCs is highest; the AUC shown is that of the first"
    picture = Picture(
        [curves("auc", "AUC"), curves("loss", "loss (nats)"), *([auxiliary_curves()] if auxiliary else [])],
        f"{stopped}the model that was kept is that of epoch {best + 1}, where {chosen}. A train curve that "
        "goes on rising while eval falls is overfitting. Train values are means over the epoch, while the model still "
        "changes, and so may lie below those of eval. The loss has the penalties of weights in it"
        f"{', that of train the auxiliary losses too' if auxiliary else ''}.",
    )
    rows = [
        (str(number), *(decimal(epoch[key]) for key in ("auc", "val_auc", "loss", "val_loss", *auxiliary)))
        for number, epoch in enumerate(history, start=1)
    ]
    table = Table(
        f"Epochs; {count(training.train_requests)} train and {count(training.eval_requests)} eval requests",
        (
            *("epoch", "train AUC (0.5 to 1)", "eval AUC (0.5 to 1)", "train loss (nats)", "eval loss (nats)"),
            *(f"{name}, unweighted" for name in auxiliary),
        ),
        rows,
        numbers=5 + len(auxiliary),
    )
    return Section("training", "Learning curves", [picture, table, *_candidate_columns(run)])


def _candidate_columns(run: FinishedRun) -> list[Block]:
    """What the model knows of candidates beside the items, and what it only learns from."""
    columns = run.section("features").get("candidate", {})
    if not columns:
        return []
    rows = []
    biased = [name for name, column in columns.items() if column["role"] == "bias"]
    for name, column in columns.items():
        given = f"always {column['serving_value']}" if name in biased else "given by the request"
        rows.append((name, column["kind"], column["role"], given))
    table = Table("Columns of candidates", ("column", "kind", "role", "outside of training"), rows, numbers=0)
    if not biased:
        return [table]
    told = ", ".join(biased)
    return [
        table,
        Prose(
            f"The curves are of scores that know {told}. All other figures are of scores that do not: logged clicks, "
            "ranked as if all candidates had been shown alike."
        ),
    ]


def headline(metrics: Mapping[str, SplitMetrics], scores: Scores | None, rankers: Rankers | None) -> list[Figure]:
    """The numbers that the page begins with: those of the test split, and what click rates alone reach there."""
    if "test" not in metrics:
        return []
    overall = metrics["test"].overall
    intervals = scores.intervals.get(OVERALL, {}) if scores is not None else {}
    figures = []
    for shown in SHOWN:
        name, unit = METRICS[shown].title, METRICS[shown].unit
        interval = between(intervals.get(shown))
        notes = [unit, f"{percent(CONFIDENCE, 0)}: {interval}" if interval else ""]
        if rankers is not None and shown in COMPARED:
            notes.append(f"{decimal(rankers.click_rate.get(shown))} by click rates of items alone")
        figures.append(Figure(f"test {name}", decimal(overall.get(shown)), "; ".join(filter(None, notes))))
    return figures


def metrics_section(metrics: Mapping[str, SplitMetrics], scores: Scores | None) -> Section:
    """Metrics of the Evaluator with intervals."""
    if not metrics:
        return Section("metrics", "How good it is", [Prose("The run was not evaluated.")])
    intervals = scores.intervals.get(OVERALL, {}) if scores is not None else {}
    rows = []
    for split in sorted(metrics, reverse=True):
        overall = metrics[split].overall
        rows.append((split, *(decimal(overall.get(name)) for name in SHOWN), count(overall["example_count"] or 0)))
        if split == "test" and intervals:
            bounds = (between(intervals.get(name)) for name in SHOWN)
            rows.append((f"{percent(CONFIDENCE, 0)} interval", *bounds, count(len(scores.labels)) if scores else ""))
    columns = ("split", *(f"{METRICS[name].title} ({METRICS[name].unit})" for name in SHOWN), "candidates")
    blocks: list[Block] = [Table("Metrics of whole splits, by the Evaluator", columns, rows, numbers=len(SHOWN) + 1)]
    blocks += _objective_tables(metrics)
    blocks.append(_requests_table(metrics, intervals))
    if scores is not None:
        blocks.append(Prose(f"{scores.sample} {scores.method}"))
    return Section("metrics", "How good it is", blocks)


def _objective_tables(metrics: Mapping[str, SplitMetrics]) -> list[Block]:
    """A table where there are objectives beside the main one."""
    objectives = objectives_in(name for of_split in metrics.values() for name in of_split.overall)
    if not objectives:
        return []
    names = ("base_rate", *SHOWN)
    rows = [
        (objective, split, *(decimal(metrics[split].overall.get(f"{objective}/{name}")) for name in names))
        for objective in objectives
        for split in sorted(metrics, reverse=True)
    ]
    columns = (
        "objective",
        "split",
        "share of positives",
        *(f"{METRICS[name].title} ({METRICS[name].unit})" for name in SHOWN),
    )
    words = (
        "Objectives beside the main one, by the Evaluator: on all impressions, a conditional one by the probability "
        "that it happens, its condition included"
    )
    return [Table(words, columns, rows, numbers=len(names))]


def _requests_table(metrics: Mapping[str, SplitMetrics], intervals: Intervals) -> Table:
    """Ranking within requests, whole; a run that did not measure it has dashes."""
    names = by_request(cut_offs(name for of_split in metrics.values() for name in of_split.overall))
    rows = []
    for split in sorted(metrics, reverse=True):
        overall = metrics[split].overall
        requests, skipped = overall.get("request_count"), overall.get("skipped_requests")
        counts = ("–" if requests is None else count(requests), "–" if skipped is None else percent(skipped))
        rows.append((split, *(decimal(overall.get(name)) for name in names), *counts))
        if split == "test" and any(name in intervals for name in names):
            bounds = (between(intervals.get(name)) for name in names)
            rows.append((f"{percent(CONFIDENCE, 0)} interval", *bounds, "", ""))
    columns = (
        "split",
        *(f"{metric(name).title} ({metric(name).unit})" for name in names),
        "requests",
        "without a click",
    )
    return Table(
        "Ranking within requests, by the Evaluator: means over requests with a click, candidates of equal score in "
        "random order",
        columns,
        rows,
        numbers=len(names) + 2,
    )


def calibration_section(scores: Scores | None, fitted: Mapping[str, Any] | None = None) -> Section:
    """Reliability and the distribution of scores.

    Args:
        scores: of the model; None: there is none.
        fitted: what the model's metadata says of its calibration; None: it has none.
    """
    if scores is None:
        return Section("scores", "Calibration", [Prose("There is no model to score the test split with.")])
    clicked, others = scores.predictions[scores.labels], scores.predictions[~scores.labels]
    bins = np.linspace(0, float(scores.predictions.max()), 41)

    def distribution(axes: Axes) -> None:
        for number, (name, values) in enumerate((("not clicked", others), ("clicked", clicked))):
            weights = np.full(len(values), 1 / max(len(values), 1))
            axes.hist(values, bins.tolist(), weights=100 * weights, histtype="step", label=name, **line(number))
        axes.set(xlabel="predicted probability of a click", ylabel="% of the group per bin")

    panels = [
        draw("reliability", "Share of clicks by predicted probability", lambda axes: _reliability(axes, scores)),
        draw("score-histogram", "Distribution of scores of clicked and not clicked candidates", distribution),
    ]
    caption = (
        f"Left: candidates in {_BINS} groups of equal size by their score; a point on the diagonal was promised as "
        "many clicks as it got, one below it was promised more; bars are 95 % intervals over users. Right: scores of "
        f"{count(len(clicked))} clicked and {count(len(others))} other candidates, each scaled to 100 %; the less the "
        f"two overlap, the better they are told apart. {scores.sample}"
    )
    tenths = reliability(scores.labels, scores.predictions, 10)
    rows = [
        (f"{low:.1f} to {low + 0.1:.1f}", decimal(predicted, 3), decimal(observed, 3), count(number))
        for low, predicted, observed, number in zip(
            tenths.lower_edges, tenths.mean_prediction, tenths.mean_label, tenths.rows, strict=True
        )
        if number
    ]
    columns = ("score", "mean score (probability)", "share clicked", "candidates")
    blocks: list[Block] = [Picture(panels, caption), Table("Scores in tenths", columns, rows, 3)]
    if fitted is not None:
        ratios, losses = (
            f"{decimal(fitted[f'{name}_before'], 4)} to {decimal(fitted[f'{name}_after'], 4)}"
            for name in ("calibration", "log_loss")
        )
        blocks.append(
            Prose(
                f"Calibrated by {fitted['method']} on eval, where promised clicks over clicks went from {ratios}, and "
                f"log loss from {losses}. Scores here are calibrated."
            )
        )
    return Section("scores", "Calibration and scores", blocks)


def _reliability(axes: Axes, scores: Scores) -> None:
    order = np.argsort(scores.predictions, kind="stable")
    rows = [group for group in np.array_split(order, _BINS) if len(group)]
    groups = np.empty(len(order), np.int64)
    groups[order] = np.repeat(np.arange(len(rows)), [len(group) for group in rows])
    predicted = np.array([scores.predictions[group].mean() for group in rows])
    observed = np.array([scores.labels[group].mean() for group in rows])
    found = click_share_intervals(scores.labels, scores.users, groups)
    ends = np.array(
        [(share, share) if bounds is None else bounds for share, bounds in zip(observed, found, strict=True)]
    )
    limit = 1.08 * max(predicted.max(), ends.max())
    axes.plot([0, limit], [0, limit], color=INK, linestyle="--", linewidth=0.9)
    axes.vlines(predicted, *ends.T, color=points(0)["color"], linewidth=1.6)
    axes.plot(predicted, observed, linestyle="none", markersize=5, **points(0))
    axes.set(xlim=(0, limit), ylim=(0, limit), xlabel="mean predicted probability", ylabel="share clicked")
