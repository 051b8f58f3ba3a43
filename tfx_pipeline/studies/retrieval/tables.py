"""An evaluation of retrieval on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from tfx_pipeline.console import Console, lines
from tfx_pipeline.evaluation.slices import ITEM_FREQUENCY
from tfx_pipeline.studies.retrieval.report import Estimate, ListEntry, RetrievalReport

if TYPE_CHECKING:
    from rich.text import Text

    from tfx_pipeline.studies.retrieval.compare.report import RetrievalComparison

RULE = (
    "Each request ranks every item of the catalogue, but for items that the user had before; a positive of the request "
    "itself is ranked in any case. Of items that score alike, the one that stands first in the catalogue is first."
)
PAGE_RULE = (
    "'+ w x retrieval' orders by logit(probability) + w x the dot product of the towers, as "
    "stages.ranking.retrieval_weight: w does. Choose w on eval."
)
TITLES = {"hr": "HR@k", "recall": "recall@k", "ndcg": "NDCG@k", "mrr": "MRR@k"}
_SLICED_AT = 100


def print_report(report: RetrievalReport, out: Console) -> None:
    """Prints the report of `evaluate_retrieval`."""
    single = report.positives == report.requests
    for family in TITLES:
        if family != "recall" or not single:
            out.print(_metric_table(report, family))
            out.print()
    out.print(_catalogue_table(report))
    out.print()
    for column in report.lists[0].slices:
        out.print(_slice_table(report, column))
        out.print()
    for sentence in _notes(report):
        out.print(sentence, highlight=False, soft_wrap=True)


def _metric_table(report: RetrievalReport, family: str) -> Table:
    table = Table(
        title=f"{TITLES[family]}, {report.split}, {report.requests:,} requests, whole catalogue of {report.items:,} "
        f"items; {report.confidence:.0%} intervals over users",
        title_justify="left",
    )
    table.add_column("retriever", no_wrap=True)
    for k in report.at_k:
        table.add_column(f"k = {k}", justify="right")
    for entry in report.lists:
        table.add_row(_name(entry, report), *(_cell(entry.metrics.get(f"{family}@{k}")) for k in report.at_k))
    if report.ranker is not None and family in ("hr", "ndcg"):
        found = report.ranker.metrics
        table.add_section()
        table.add_row(f"{report.ranker.model}, all items", *(_cell(found.get(f"{family}@{k}")) for k in report.at_k))
    return table


def _catalogue_table(report: RetrievalReport) -> Table:
    """How much of the catalogue anybody is shown, and how much of that is of the head."""
    table = Table(
        title=f"coverage of the catalogue, and share of the head ({report.head_items:,} items) in the lists",
        title_justify="left",
    )
    table.add_column("retriever", no_wrap=True)
    for header in ("coverage", "head"):
        for k in report.at_k:
            table.add_column(lines(header, f"k = {k}"), justify="right")
    table.add_column("seconds", justify="right")
    for entry in report.lists:
        shares = (
            f"{shares[str(k)]:.1%}" if str(k) in shares else ""
            for shares in (entry.coverage, entry.head_share)
            for k in report.at_k
        )
        table.add_row(_name(entry, report), *shares, f"{entry.seconds:,.1f}")
    return table


def _slice_table(report: RetrievalReport, column: str) -> Table:
    k = sliced_at(report.at_k)
    counted = f" ({report.frequency} in train)" if column == ITEM_FREQUENCY else ""
    table = Table(title=f"recall@{k} by {column.replace('_', ' ')}{counted}", title_justify="left")
    table.add_column("retriever", no_wrap=True)
    for bucket, entry in report.lists[0].slices[column].items():
        table.add_column(lines(bucket, f"{entry.positives:,} positives"), justify="right")
    for each in report.lists:
        buckets = each.slices[column].values()
        table.add_row(_name(each, report), *(_cell(one.metrics.get(f"recall@{k}")) for one in buckets))
    return table


def sliced_at(at_k: Sequence[int]) -> int:
    """The cut-off of tables of slices."""
    return max([each for each in at_k if each <= _SLICED_AT], default=at_k[0])


def left_out_notes(report: RetrievalReport | RetrievalComparison) -> list[str]:
    """Sentences about what is ranked, and what of the split is not."""
    found = [RULE]
    if report.positives == report.requests:
        found.append("Every request has one positive: its recall@k is its HR@k.")
    if report.unknown_positives:
        found.append(
            f"{report.unknown_positives:,} positives are no items of the catalogue and are left out, and so are the "
            f"{report.without_positive:,} requests that have no other."
        )
    elif report.without_positive:
        found.append(f"{report.without_positive:,} requests have no positive and are left out.")
    return found


def _notes(report: RetrievalReport) -> Sequence[str]:
    found = left_out_notes(report)
    if report.ranker is not None:
        if any(entry.retrieval_weight for entry in report.lists):
            found.append(PAGE_RULE)
        found.append(
            f"{report.ranker.model} ranks by probability what a retriever hands it; over all items it took "
            f"{report.ranker.seconds:,.0f} s, and there ties have no order."
        )
    return found


def _name(entry: ListEntry, report: RetrievalReport) -> str:
    if entry.candidates is None or report.ranker is None:
        return entry.retriever.replace("_", " ")
    return f"  {cascade_name(entry.candidates, report.ranker.model, entry.retrieval_weight)}"


def cascade_name(candidates: int | None, ranker: str, weight: float) -> str:
    """Of a ranker behind a retriever."""
    return f"{candidates}, then {ranker}" + (f" + {weight:g} x retrieval" if weight else "")


def _cell(estimate: Estimate | None) -> str | Text:
    """The mean, and below it its interval: beside it, five cut-offs would not fit a terminal."""
    if estimate is None or estimate.mean is None:
        return ""
    mean = f"{estimate.mean:.4f}"
    return mean if estimate.low is None else lines(mean, f"[{estimate.low:.4f}, {estimate.high:.4f}]")
