"""A comparison on a terminal: what the models are worth, where, how surely, at what cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from tfx_pipeline.config.metrics import COMPARED, METRICS, SHOWN, by_request, metric, outlined
from tfx_pipeline.console import Console, lines, styled
from tfx_pipeline.evaluation.slices import ITEM_FREQUENCY
from tfx_pipeline.studies.compare.catalogue import catalogue_entries, catalogue_heading, catalogue_notes
from tfx_pipeline.studies.compare.cells import ONE_SEED, difference, number, spread, whole
from tfx_pipeline.studies.compare.chance import trainings_at_chance
from tfx_pipeline.studies.compare.report import CatalogueFacts, ModelEntry, Report
from tfx_pipeline.studies.compare.sessions import mixed_sessions

if TYPE_CHECKING:
    from rich.text import Text

_COMPARED = [name for name in METRICS if name in COMPARED]


def print_report(report: Report, out: Console) -> None:
    """Prints the report of `tfx_pipeline.studies.compare.comparison.compare`."""
    names = outlined(f"hr@{k}" for k in report.at_k)
    tables = [_metrics_table(report), *(_objective_table(report, name) for name in report.objectives)]
    tables.append(_requests_table(report))
    if report.catalogue is not None:
        tables.append(_catalogue_table(report, report.catalogue))
    if report.others:
        further = [[f"{objective}/{name}" for name in _COMPARED] for objective in report.objectives]
        # Four intervals fill a line.
        tables += [_differences_table(report, part) for part in (_COMPARED, *further, names)]
    for table in (*tables, _slices_table(report), _cost_table(report)):
        out.print(table)
        out.print()
    of_catalogue = catalogue_notes(report.catalogue) if report.catalogue is not None else []
    for sentence in (*of_catalogue, *trainings_at_chance(report), *_on_one_seed(report), *mixed_sessions(report)):
        out.print(sentence, highlight=False, soft_wrap=True)


def _on_one_seed(report: Report) -> list[str]:
    if not report.trained_once or not report.others:
        return []
    return [ONE_SEED]


def _metrics_table(report: Report) -> Table:
    test, attainable = report.data.test, report.attainable
    table = Table(
        title=f"test split, {test.candidates:,} candidates of {test.users:,} users: {report.over_seeds}",
        title_justify="left",
    )
    table.add_column("model")
    for name in SHOWN:
        table.add_column(name.replace("_", " "), justify="right")
    if attainable is not None:
        table.add_column(lines("share of the", f"attainable {attainable.auc:.3f}"), justify="right")
    for model in report.models:
        cells = [spread(model.metrics[name]) for name in SHOWN]
        if model.attainable_share is not None:
            cells.append(spread(model.attainable_share, digits=3))
        table.add_row(_name(model, report), *cells)
    return table


def _objective_table(report: Report, objective: str) -> Table:
    """Of an objective beside the main one: its metrics, on all impressions."""
    table = Table(title=f"objective '{objective}', on all impressions: {report.over_seeds}", title_justify="left")
    table.add_column("model")
    for name in SHOWN:
        table.add_column(name.replace("_", " "), justify="right")
    for model in report.models:
        table.add_row(_name(model, report), *(spread(model.metrics[f"{objective}/{name}"]) for name in SHOWN))
    return table


def _requests_table(report: Report) -> Table:
    """Ranking within requests: every model, then the rankers without one, which have no seeds."""
    names = by_request(report.at_k[-2:])
    table = Table(
        title="ranking within requests, of those with a click; below, rankers without a model", title_justify="left"
    )
    table.add_column("model")
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    for model in report.models:
        table.add_row(_name(model, report), *(spread(model.metrics.get(name)) for name in names))
    table.add_section()
    for ranker, values in (report.baselines or {}).items():
        table.add_row(ranker.replace("_", " "), *(number(values.get(name)) for name in names))
    return table


def _catalogue_table(report: Report, facts: CatalogueFacts) -> Table:
    """Ranking of all items, of every model."""
    found = catalogue_entries(report)
    names = list(next(iter(found.values())).metrics)
    table = Table(title=catalogue_heading(report, facts), title_justify="left")
    table.add_column("model")
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    table.add_column("candidates/s", justify="right")
    for model in report.models:
        if (own := found.get(model.label)) is not None:
            cells = (spread(own.metrics[name]) for name in names)
            table.add_row(_name(model, report), *cells, whole(own.candidates_per_second.mean))
    return table


def _differences_table(report: Report, names: Sequence[str]) -> Table:
    share = report.bootstrap.confidence
    table = Table(
        title=f"difference to {report.reference}, with its {share:.0%} interval over users", title_justify="left"
    )
    table.add_column("model")
    for name in names:
        better = " (below 0 is better)" if metric(name).lower_is_better else ""
        table.add_column(metric(name).title + better, justify="right")
    for model, differences in report.others:
        table.add_row(model.label, *(difference(differences.get(name)) for name in names))
    return table


def _slices_table(report: Report) -> Table:
    buckets = report.models[0].slices[ITEM_FREQUENCY]
    table = Table(
        title="GAUC by impressions of the candidate in train"
        + ("; below, the difference to the reference" if report.others else ""),
        title_justify="left",
    )
    table.add_column("model")
    for bucket, facts in buckets.items():
        table.add_column(lines(bucket, f"{facts.candidates:,}"), justify="right")
    for model in report.models:
        found = model.slices[ITEM_FREQUENCY]
        differences = (model.slice_differences or {}).get(ITEM_FREQUENCY)
        cells = []
        for bucket in buckets:
            below = [difference(differences[bucket]["gauc"])] if differences else []
            cells.append(lines(spread(found[bucket].metrics["gauc"]), *below))
        table.add_row(_name(model, report), *cells)
    return table


def _cost_table(report: Report) -> Table:
    asked = report.rank
    table = Table(title="cost", title_justify="left")
    table.add_column("model")
    columns = (
        ("trainable", "numbers"),
        ("without", "embeddings"),
        ("learning rate,", "batch size"),
        ("training,", "examples/s"),
        ("epochs", "(best)"),
        ("training,", "seconds"),
        (f"rank {asked.candidates},", f"history {asked.history}, ms"),
    )
    for column in columns:
        table.add_column(lines(*column), justify="right")
    for model in report.models:
        numbers, training = model.parameters, model.training
        epochs = zip(training.epochs, training.best_epoch, strict=True)
        table.add_row(
            _name(model, report),
            f"{numbers.trainable:,}",
            f"{numbers.rest:,}",
            f"{training.learning_rate:g}, {training.batch_size:,}",
            whole(training.examples_per_second.mean),
            " ".join(f"{count} ({best + 1})" for count, best in epochs),
            whole(training.seconds.mean),
            f"{model.rank_ms.median:.1f}",
        )
    return table


def _name(model: ModelEntry, report: Report) -> Text:
    return styled((model.label, "bold" if model.label == report.reference else ""))
