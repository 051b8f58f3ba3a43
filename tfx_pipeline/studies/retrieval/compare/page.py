"""The page of `dmf retrieval compare`: what towers, baselines and rankers behind them find of the whole catalogue."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import yaml
from matplotlib.axes import Axes

from tfx_pipeline.config.stages import RECALL
from tfx_pipeline.evaluation.slices import ITEM_FREQUENCY
from tfx_pipeline.pages.kit.figures import WIDE_SIZE, draw
from tfx_pipeline.pages.kit.page import Block, Details, Figure, Page, Panel, Picture, Prose, Section, Table, write
from tfx_pipeline.pages.kit.palette import line, points
from tfx_pipeline.pages.kit.wording import count, decimal, moment, percent
from tfx_pipeline.studies.compare.forest import MARKS, Forest, cells, forests, headers, sides
from tfx_pipeline.studies.compare.page import spread
from tfx_pipeline.studies.compare.report import Difference, Statistic
from tfx_pipeline.studies.compare.seed_curves import seed_curves
from tfx_pipeline.studies.retrieval.compare.report import ComparedList, RetrievalComparison, TrainedEntry
from tfx_pipeline.studies.retrieval.tables import PAGE_RULE, TITLES, cascade_name, left_out_notes, sliced_at

# The first items of a list, which a user sees.
_PAGE = 10


def write_retrieval_page(report: RetrievalComparison, path: Path) -> None:
    """Writes the page; it appears whole.

    Args:
        report: of `dmf retrieval compare`.
        path: of the page.

    Raises:
        OSError: the page cannot be written.
    """
    write(retrieval_page(report), path)


def retrieval_page(report: RetrievalComparison) -> Page:
    """The page of a comparison of retrieval."""
    k = sliced_at(report.at_k)
    alone = [each for each in report.lists if each.ranker is None]
    best = max(alone, key=lambda each: each.metrics[f"recall@{k}"].mean or 0)
    return Page(
        title=f"Retrieval compared on {report.pipeline}",
        subtitle=f"Reference {report.reference}; written {moment(report.created)} UTC, in {report.output}",
        verdicts=[Prose(_verdict(report, k))],
        figures=[
            Figure(f"highest mean recall@{k}", decimal(best.metrics[f"recall@{k}"].mean), best.retriever),
            Figure("towers", str(len(report.towers)), f"seeds {', '.join(map(str, report.seeds))}"),
            Figure("catalogue", count(report.items), f"of which {count(report.head_items)} are the head"),
            Figure("requests", count(report.requests), f"of {report.split}, that have a positive of the catalogue"),
        ],
        sections=[
            _lists_section(report),
            _differences_section(report, k),
            _slices_section(report, k),
            _catalogue_section(report),
            *([_training_section(report)] if report.towers else []),
        ],
    )


def _verdict(report: RetrievalComparison, k: int) -> str:
    """Who is ahead of the reference in recall, who behind, in a sentence."""
    compared = {each.retriever: each.difference for each in report.lists if each.ranker is None and each.difference}
    if not compared:
        return f"{report.reference} was measured alone: there is nothing to compare it with."
    if len(report.seeds) == 1:
        return (
            f"In recall@{k} nothing is decided against {report.reference}: towers were trained once, and another seed "
            "may turn a difference round."
        )
    return (
        f"In recall@{k} of {report.split}, against {report.reference}, by {percent(report.bootstrap.confidence, 0)} "
        f"intervals and if all seeds agree, {sides({name: one[f'recall@{k}'] for name, one in compared.items()})}."
    )


def _lists_section(report: RetrievalComparison) -> Section:
    alone = [each for each in report.lists if each.ranker is None]
    notes = [*left_out_notes(report), *([PAGE_RULE] if any(each.retrieval_weight for each in report.lists) else [])]
    blocks: list[Block] = [
        Picture(
            [_recall_by_k(alone, report)],
            f"Share of the positives that are among the first k of {count(report.items)} items, a line per retriever; "
            f"{report.over_seeds}. Rankers behind towers are in the tables: they change the order of what was "
            "retrieved and find no more.",
        ),
        *map(Prose, notes),
        *(_metric_table(report, family) for family in _families(report)),
    ]
    return Section("lists", "What is found", blocks)


def _families(report: RetrievalComparison) -> list[str]:
    """Recall of requests with one positive is their hit rate."""
    return [family for family in TITLES if family != "recall" or report.positives != report.requests]


def _recall_by_k(shown: Sequence[ComparedList], report: RetrievalComparison) -> Panel:
    label = f"recall@k of {report.split}"

    def paint(axes: Axes) -> None:
        for number, each in enumerate(shown):
            found = [(k, each.metrics[f"recall@{k}"].mean) for k in report.at_k]
            known = [(k, mean) for k, mean in found if mean is not None]
            if known:
                axes.plot(*zip(*known, strict=True), label=each.retriever, **line(number) | points(number))
        axes.set_xscale("log")
        axes.set_xticks(report.at_k, list(map(str, report.at_k)))
        axes.minorticks_off()
        axes.set(xlabel="k, items of a list", ylabel=label)

    return draw("recall-by-k", label, paint, WIDE_SIZE)


def _metric_table(report: RetrievalComparison, family: str) -> Table:
    title = TITLES[family].removesuffix("@k")
    rows = [(_name(each), *(_spread(each.metrics.get(f"{family}@{k}")) for k in report.at_k)) for each in report.lists]
    caption = f"{TITLES[family]}, 0 to 1, of {report.split} against the whole catalogue; {report.over_seeds}"
    return Table(caption, ("retriever", *(f"{title}@{k}" for k in report.at_k)), rows, len(report.at_k))


def _differences_section(report: RetrievalComparison, k: int) -> Section:
    compared = {_name(each): each.difference for each in report.lists if each.difference is not None}
    if not compared:
        return Section("differences", "Differences", [Prose("There is nothing to compare with.")])
    bootstrap = report.bootstrap
    # With the names of rankers behind them rows would be wider than a panel; the table has these.
    alone = {each.retriever: each.difference for each in report.lists if each.difference and each.ranker is None}
    shown = (f"recall@{k}", f"ndcg@{min(report.at_k, key=lambda each: abs(each - _PAGE))}")
    plots = [
        Forest(f"forest-{name.replace('@', '-at-')}", _title(name), {label: own[name] for label, own in alone.items()})
        for name in shown
    ]
    rows = []
    for label, found in compared.items():
        for name in (f"{family}@{k}" for family in _families(report) for k in report.at_k):
            if (one := found.get(name)) is not None:
                rows.append((label, _title(name), *cells(one)))
    columns = ("retriever", "metric (of 1)", *headers(bootstrap))
    return Section(
        "differences",
        f"Differences to {report.reference}",
        [
            Picture(
                forests(plots, report.reference),
                f"Difference to {report.reference} on {report.split}, with {percent(bootstrap.confidence, 0)} "
                f"intervals; small marks below are the seeds. {MARKS} What a ranker made of a list is compared with "
                f"what it made of that of {report.reference}. Intervals come from {count(bootstrap.resamples)} "
                f"resamples of {bootstrap.unit}s, the same ones for all.",
            ),
            Table("Differences", columns, rows, 4),
        ],
    )


def _slices_section(report: RetrievalComparison, k: int) -> Section:
    alone = [each for each in report.lists if each.ranker is None]
    blocks: list[Block] = []
    for column, buckets in report.lists[0].slices.items():
        counted = f" ({report.frequency} in train)" if column == ITEM_FREQUENCY else ""
        what = column.replace("_", " ") + counted
        found: dict[str, dict[str, Difference]] = {}
        for each in alone:
            for bucket, differences in (each.slice_differences or {}).get(column, {}).items():
                if differences[f"recall@{k}"].mean is not None:
                    found.setdefault(bucket, {})[each.retriever] = differences[f"recall@{k}"]
        if found:
            plots = [
                Forest(f"forest-{column}-{place}", f"recall@{k}", own, bucket)
                for place, (bucket, own) in enumerate(found.items())
            ]
            caption = f"Difference in recall@{k} to {report.reference} by {what}, on one scale."
            blocks.append(Picture(forests(plots, report.reference, one_scale=True), caption))
        rows: list[tuple[str, ...]] = [("positives", *(count(one.positives) for one in buckets.values()))]
        rows += [
            (_name(each), *(_spread(one.metrics.get(f"recall@{k}")) for one in each.slices[column].values()))
            for each in report.lists
        ]
        blocks.append(Table(f"recall@{k} by {what}; {report.over_seeds}", ("retriever", *buckets), rows, len(buckets)))
    return Section("slices", "Where they differ", blocks)


def _catalogue_section(report: RetrievalComparison) -> Section:
    def shares(caption: str, share_of: Callable[[ComparedList], Mapping[str, Statistic]]) -> Table:
        rows = [(_name(each), *(_share(share_of(each).get(str(k))) for k in report.at_k)) for each in report.lists]
        columns = ("retriever", *(f"k = {k} (%)" for k in report.at_k))
        return Table(f"{caption}; mean over seeds", columns, rows, len(report.at_k))

    head = f"the head ({count(report.head_items)} items)"
    return Section(
        "catalogue",
        "How much of the catalogue is shown",
        [
            shares("Share of the catalogue that is among the first k of any list", lambda each: each.coverage),
            shares(f"Share of the first k of all lists that is of {head}", lambda each: each.head_share),
        ],
    )


def _training_section(report: RetrievalComparison) -> Section:
    curves = {
        towers.label: [[epoch.get(RECALL) for epoch in history] for history in towers.history]
        for towers in report.towers
    }
    trained: Sequence[TrainedEntry] = [*report.towers, *report.rankers]
    rows = [
        (
            entry.label,
            " ".join(map(str, entry.training.epochs)),
            " ".join("–" if best is None else str(best + 1) for best in entry.training.best_epoch),
            count(entry.parameters.trainable),
            count(entry.parameters.rest),
            decimal(entry.training.examples_per_second.mean, 0),
            decimal(entry.training.seconds.mean, 0),
        )
        for entry in trained
    ]
    columns = (
        "towers, then rankers",
        "epochs trained, by seed",
        "best epoch",
        "trainable numbers",
        "without embeddings",
        "requests/s",
        "seconds",
    )
    params = {entry.label: dict(entry.params) for entry in trained}
    return Section(
        "training",
        "Training",
        [
            Picture(
                [
                    seed_curves(
                        "Recall of eval by epoch of every training", f"{RECALL.removeprefix('val_')} of eval", curves
                    )
                ],
                "Recall of eval by epoch, a line per seed; the best epoch is kept. Test plays no part.",
            ),
            Table("Trainings", columns, rows, 6),
            Details("Settings of retrieval", yaml.safe_dump(dict(report.stage), sort_keys=False, allow_unicode=True)),
            Details("Hyper-parameters", yaml.safe_dump(params, sort_keys=False, allow_unicode=True)),
        ],
    )


def _title(name: str) -> str:
    family, _, k = name.partition("@")
    return f"{TITLES[family].removesuffix('@k')}@{k}"


def _name(each: ComparedList) -> str:
    if each.ranker is None:
        return each.retriever
    return f"{each.retriever}: {cascade_name(each.candidates, each.ranker, each.retrieval_weight)}"


def _spread(value: Statistic | None) -> str:
    return decimal(None) if value is None else spread(value)


def _share(value: Statistic | None) -> str:
    return decimal(None) if value is None or value.mean is None else decimal(100 * value.mean, 1)
