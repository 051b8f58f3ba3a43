"""The page of `dmf compare`: models side by side, how sure the differences are, where they lie, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from tfx_pipeline.config.metrics import (
    COMPARED,
    METRICS,
    SHOWN,
    by_request,
    compared,
    metric,
    outlined,
    with_objectives,
)
from tfx_pipeline.evaluation.baselines import title as baseline_title
from tfx_pipeline.pages.kit.page import Block, Details, Figure, Page, Picture, Prose, Section, Table, write
from tfx_pipeline.pages.kit.wording import count, decimal, moment, percent
from tfx_pipeline.studies.compare.catalogue import catalogue_entries, catalogue_heading, catalogue_notes
from tfx_pipeline.studies.compare.chance import trainings_at_chance
from tfx_pipeline.studies.compare.cost_sections import cost_section, training_section
from tfx_pipeline.studies.compare.forest import MARKS, Forest, cells, forests, headers, sides
from tfx_pipeline.studies.compare.report import CatalogueFacts, Difference, Report, Slice, Statistic

_COLUMNS = {
    "item_frequency": "impressions of the candidate in train",
    "history_length": "items in the history",
    "content": "content of the candidate",
    "user": "whether train had the user",
}


def write_compare_page(report: Report, path: Path) -> None:
    """Writes the page; it appears whole.

    Args:
        report: of `dmf compare`.
        path: of the page.

    Raises:
        OSError: the page cannot be written.
    """
    write(compare_page(report), path)


def compare_page(report: Report) -> Page:
    """The page of a comparison."""
    models, data = report.models, report.data
    seeds = ", ".join(map(str, report.seeds))
    trained = (
        f"one training each, with seed {seeds}"
        if report.trained_once
        else f"{len(report.seeds)} trainings each (seeds {seeds})"
    )
    best = max(models, key=lambda model: model.metrics["gauc"].mean or 0)
    figures = [
        Figure("highest mean test GAUC", decimal(best.metrics["gauc"].mean), best.label),
        Figure("models", str(len(models)), trained),
        Figure("train requests", count(data.train_requests), f"until {moment(data.eval_from)} UTC"),
        Figure("test candidates", count(data.test.candidates), f"of {count(data.test.users)} users"),
        Figure("test clicks", count(data.test.positives), f"from {moment(data.test_from)} UTC"),
    ]
    return Page(
        title=f"Models compared on {report.pipeline}",
        subtitle=f"Reference {report.reference}; written {moment(report.created)} UTC, in {report.output}",
        verdicts=[
            Prose(_verdict(report)),
            *(Prose(sentence, "warning") for sentence in trainings_at_chance(report)),
        ],
        figures=figures,
        sections=[
            _models_section(report),
            *([_catalogue_section(report, report.catalogue)] if report.catalogue is not None else []),
            _differences_section(report),
            _slices_section(report),
            cost_section(report),
            training_section(report),
        ],
    )


def _verdict(report: Report) -> str:
    """Who is ahead of the reference in GAUC, who behind, in a sentence."""
    if not report.others:
        return f"{report.reference} was trained alone: there is nothing to compare it with."
    if report.trained_once:
        return (
            f"In test GAUC nothing is decided against {report.reference}: each model was trained once, and another "
            "seed may turn a difference round."
        )
    confidence = report.bootstrap.confidence
    return (
        f"In test GAUC, against {report.reference}, by {percent(confidence, 0)} intervals and if all seeds agree, "
        f"{sides({model.label: differences['gauc'] for model, differences in report.others})}."
    )


def _models_section(report: Report) -> Section:
    headers = [f"{METRICS[name].title} ({METRICS[name].unit})" for name in SHOWN]
    with_share = any(model.attainable_share for model in report.models)
    rows = []
    for model in report.models:
        cells = [spread(model.metrics[name]) for name in SHOWN]
        if with_share:
            share = model.attainable_share
            cells.append(spread(Statistic(_times(share.mean, 100), _times(share.std, 100), ()), 1) if share else "–")
        content = " + ".join(model.modalities) or "none"
        rows.append((model.label, content, *cells))
    if with_share:
        headers.append("attained AUC gain (%)")
    table = Table(f"Test split: {report.over_seeds}", ("model", "content", *headers), rows, len(headers))
    further = [
        Table(
            f"Objective '{objective}' on all impressions of test: {report.over_seeds}",
            ("model", *(f"{METRICS[name].title} ({METRICS[name].unit})" for name in SHOWN)),
            [
                (model.label, *(spread(model.metrics[f"{objective}/{name}"]) for name in SHOWN))
                for model in report.models
            ],
            len(SHOWN),
        )
        for objective in report.objectives
    ]
    blocks: list[Block] = [table, *further, _requests_table(report)]
    if report.attainable is not None:
        blocks.append(
            Prose(
                "The log is synthetic, so that its true probabilities are known: a ranker that knew them would reach "
                f"AUC {decimal(report.attainable.auc)} and GAUC {decimal(report.attainable.gauc)}. The "
                "attained gain is the model's AUC above 0.5 as a share of that one's."
            )
        )
    params = {model.label: model.params for model in report.models}
    blocks.append(
        Details("Hyper-parameters of each model", yaml.safe_dump(params, sort_keys=False, allow_unicode=True))
    )
    return Section("models", "Models", blocks)


def _requests_table(report: Report) -> Table:
    """Ranking within requests, of every model and then of rankers without one."""
    names = by_request(report.at_k)
    rows = [
        (model.label, *(spread(model.metrics[name]) if name in model.metrics else "–" for name in names))
        for model in report.models
    ]
    rows += [
        (baseline_title(ranker), *(decimal(values.get(name)) for name in names))
        for ranker, values in (report.baselines or {}).items()
    ]
    return Table(
        f"Ranking within requests of test that have a click, {report.over_seeds}; then rankers without a model",
        ("ranked by", *(f"{metric(name).title} ({metric(name).unit})" for name in names)),
        rows,
        len(names),
    )


def _catalogue_section(report: Report, facts: CatalogueFacts) -> Section:
    """Ranking of all items, of every model."""
    found = catalogue_entries(report)
    names = list(next(iter(found.values())).metrics)
    headers = [f"{metric(name).title} ({metric(name).unit})" for name in names]
    rows = [
        (label, *(spread(own.metrics[name]) for name in names), count(round(own.candidates_per_second.mean or 0)))
        for label, own in found.items()
    ]
    table = Table(catalogue_heading(report, facts), ("model", *headers, "candidates per second"), rows, len(names) + 1)
    return Section("catalogue", "Whole catalogue", [*map(Prose, catalogue_notes(facts)), table])


def _differences_section(report: Report) -> Section:
    if not report.others:
        return Section("differences", "Differences", [Prose("There is no second model.")])
    bootstrap = report.bootstrap
    method = (
        f"Intervals come from {count(bootstrap.resamples)} resamples of {bootstrap.unit}s, the same ones for "
        f"both models. Seeds are {bootstrap.seeds}."
    )
    picture = Picture(
        forests(
            [
                Forest(
                    f"forest-{name.replace('@', '-at-').replace('/', '-')}",
                    metric(name).title,
                    {model.label: differences[name] for model, differences in report.others if name in differences},
                )
                for name in (*with_objectives(COMPARED, report.objectives), *outlined(f"hr@{k}" for k in report.at_k))
                if name in next(iter(report.others))[1]
            ],
            report.reference,
        ),
        f"Difference of each model to {report.reference} on the test split (model minus reference), with "
        f"{percent(bootstrap.confidence, 0)} intervals; small marks below are the seeds. Log loss is better to the "
        f"left, all others to the right. {MARKS} {method}",
    )
    rows = []
    for model, differences in report.others:
        further = (f"{objective}/{name}" for objective in report.objectives for name in COMPARED)
        for name in (*compared(report.at_k), *further):
            heading = f"{metric(name).title} ({'nats' if name.endswith('log_loss') else 'of 1'})"
            rows.append((model.label, heading, *cells(differences.get(name))))
    columns = ("model", "metric", *headers(bootstrap))
    return Section(
        "differences",
        f"Differences to {report.reference}",
        [picture, Table("Differences", columns, rows, 4)],
    )


def _slices_section(report: Report) -> Section:
    blocks: list[Block] = _frequency_forests(report)
    first = report.models[0]
    for column, what in _COLUMNS.items():
        sizes = first.slices.get(column, {})
        if sizes:
            blocks.append(_slice_table(report, column, what, sizes))
    return Section("slices", "Where they differ", blocks)


def _frequency_forests(report: Report) -> list[Block]:
    """Differences in GAUC by frequency of the item, a panel per bucket with an answer, all on one scale."""
    found: dict[str, dict[str, Difference]] = {}
    for model in report.models:
        for bucket, differences in (model.slice_differences or {}).get("item_frequency", {}).items():
            if differences["gauc"].mean is not None:
                found.setdefault(bucket, {})[model.label] = differences["gauc"]
    if not found:
        return []
    panels = forests(
        [Forest(f"forest-{bucket}", metric("gauc").title, own, f"{bucket} items") for bucket, own in found.items()],
        report.reference,
        one_scale=True,
    )
    return [
        Picture(
            panels,
            f"Difference in test GAUC to {report.reference} by impressions of the candidate in train, on one scale. "
            "Content can help most where an item's own embedding knows least: cold items were never shown in train, "
            "rare ones a few times.",
        )
    ]


def _slice_table(report: Report, column: str, what: str, sizes: Mapping[str, Slice]) -> Table:
    rows = [("candidates", *(count(facts.candidates) for facts in sizes.values()))]
    for model in report.models:
        found = model.slices[column]
        rows.append(
            (
                model.label,
                *(spread(found[bucket].metrics["gauc"]) if bucket in found else "–" for bucket in sizes),
            )
        )
    caption = f"Test GAUC (0.5 to 1) by {what}: {report.over_seeds}"
    return Table(caption, ("model", *sizes), rows, len(sizes))


def spread(value: Statistic, digits: int = 4) -> str:
    """Mean and standard deviation; the latter is left out where one seed has none."""
    mean = decimal(value.mean, digits)
    return mean if value.std is None else f"{mean} ± {decimal(value.std, digits)}"


def _times(number: float | None, factor: float) -> float | None:
    return None if number is None else factor * number
