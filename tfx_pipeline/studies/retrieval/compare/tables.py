"""A comparison of retrieval on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from tfx_pipeline.config.stages import RECALL
from tfx_pipeline.console import Console, lines, styled
from tfx_pipeline.evaluation.slices import ITEM_FREQUENCY
from tfx_pipeline.studies.compare.cells import ONE_SEED, difference, spread, whole
from tfx_pipeline.studies.retrieval.compare.report import ComparedList, RetrievalComparison, TrainedEntry
from tfx_pipeline.studies.retrieval.tables import PAGE_RULE, TITLES, cascade_name, left_out_notes, sliced_at

if TYPE_CHECKING:
    from rich.text import Text

# MRR is in the JSON.
_FAMILIES = ("hr", "recall", "ndcg")


def print_comparison(report: RetrievalComparison, out: Console) -> None:
    """Prints the report of `tfx_pipeline.studies.retrieval.compare.comparison.compare_retrieval`."""
    single = report.positives == report.requests
    families = [family for family in _FAMILIES if family != "recall" or not single]
    tables = [_metric_table(report, family) for family in families]
    if any(each.difference is not None for each in report.lists):
        tables += [_difference_table(report, family) for family in families]
    tables += [_slice_table(report, column) for column in report.lists[0].slices]
    tables += [_catalogue_table(report), _training_table(report.towers)]
    for table in tables:
        out.print(table)
        out.print()
    by_both = any(each.retrieval_weight for each in report.lists)
    notes = [
        *left_out_notes(report),
        *([PAGE_RULE] if by_both else []),
        *([ONE_SEED] if len(report.seeds) == 1 else []),
    ]
    for sentence in notes:
        out.print(sentence, highlight=False, soft_wrap=True)


def _metric_table(report: RetrievalComparison, family: str) -> Table:
    title = (
        f"{TITLES[family]}, {report.split}, {report.requests:,} requests, whole catalogue of {report.items:,} items; "
        f"{report.over_seeds}"
    )
    return _by_k(report, title, report.lists, lambda each, k: spread(each.metrics.get(f"{family}@{k}")))


def _difference_table(report: RetrievalComparison, family: str) -> Table:
    title = (
        f"{TITLES[family]}: difference to {report.reference}, with its {report.bootstrap.confidence:.0%} interval over "
        "users"
    )

    def cell(each: ComparedList, k: int) -> Text:
        return difference((each.difference or {}).get(f"{family}@{k}"), below=True)

    shown = [each for each in report.lists if each.difference is not None]
    return _by_k(report, title, shown, cell)


def _by_k(
    report: RetrievalComparison,
    title: str,
    shown: Sequence[ComparedList],
    cell: Callable[[ComparedList, int], str | Text],
) -> Table:
    """A row for each list, a column for each k."""
    table = Table(title=title, title_justify="left")
    table.add_column("retriever", no_wrap=True)
    for k in report.at_k:
        table.add_column(f"k = {k}", justify="right")
    for each in shown:
        table.add_row(_name(each, report), *(cell(each, k) for k in report.at_k))
    return table


def _slice_table(report: RetrievalComparison, column: str) -> Table:
    k = sliced_at(report.at_k)
    counted = f" ({report.frequency} in train)" if column == ITEM_FREQUENCY else ""
    against = f"; below, the difference to {report.reference}" if len(report.lists) > 1 else ""
    table = Table(title=f"recall@{k} by {column.replace('_', ' ')}{counted}{against}", title_justify="left")
    table.add_column("retriever", no_wrap=True)
    for bucket, one in report.lists[0].slices[column].items():
        table.add_column(lines(bucket, f"{one.positives:,} positives"), justify="right")
    for each in report.lists:
        differences = (each.slice_differences or {}).get(column, {})
        cells = []
        for bucket, one in each.slices[column].items():
            below = [difference(differences[bucket].get(f"recall@{k}"))] if bucket in differences else []
            cells.append(lines(spread(one.metrics.get(f"recall@{k}")), *below))
        table.add_row(_name(each, report), *cells)
    return table


def _catalogue_table(report: RetrievalComparison) -> Table:
    """How much of the catalogue anybody is shown, and how much of that is of the head."""
    table = Table(
        title=f"coverage of the catalogue, and share of the head ({report.head_items:,} items) in the lists; mean over "
        "seeds",
        title_justify="left",
    )
    table.add_column("retriever", no_wrap=True)
    for header in ("coverage", "head"):
        for k in report.at_k:
            table.add_column(lines(header, f"k = {k}"), justify="right")
    for each in report.lists:
        shares = (share.get(str(k)) for share in (each.coverage, each.head_share) for k in report.at_k)
        table.add_row(_name(each, report), *("" if one is None else f"{one.mean:.1%}" for one in shares))
    return table


def _training_table(trained: Sequence[TrainedEntry]) -> Table:
    table = Table(title="training of the towers", title_justify="left")
    table.add_column("towers")
    columns = (
        (RECALL.removeprefix("val_"), "on eval, by seed"),
        ("epochs", "(best)"),
        ("trainable", "numbers"),
        ("without", "embeddings"),
        ("training,", "requests/s"),
        ("training,", "seconds"),
    )
    for column in columns:
        table.add_column(lines(*column), justify="right")
    for towers in trained:
        training = towers.training
        best = [epochs[place].get(RECALL) for epochs, place in zip(towers.history, training.best_epoch, strict=True)]
        epochs = zip(training.epochs, training.best_epoch, strict=True)
        table.add_row(
            towers.label,
            " ".join("-" if found is None else f"{found:.4f}" for found in best),
            " ".join(f"{count} ({place + 1})" for count, place in epochs),
            f"{towers.parameters.trainable:,}",
            f"{towers.parameters.rest:,}",
            whole(training.examples_per_second.mean),
            whole(training.seconds.mean),
        )
    return table


def _name(each: ComparedList, report: RetrievalComparison) -> Text:
    if each.ranker is not None:
        return styled(f"  {cascade_name(each.candidates, each.ranker, each.retrieval_weight)}")
    return styled((each.retriever, "bold" if each.retriever == report.reference else ""))
