"""Evidence of content, printed."""

from __future__ import annotations

from rich.table import Table

from tfx_pipeline.console import Console, lines
from tfx_pipeline.evaluation.content_evidence import (
    OVERALL,
    RECALL_AT,
    ContentEvidence,
    CosineSpread,
    ModalityEvidence,
    SliceEvidence,
)

_NOTE = (
    "AUC and GAUC: of the mean cosine of a candidate to the items of its history. Recall and MRR: of the next click "
    "among all items with content, by the same cosine, the items of the history left out. Both look only at requests "
    "whose history has content."
)
# Of the nearest items, those that fit into a line.
_SHOWN_NEIGHBOURS = 3


def print_evidence(evidence: ContentEvidence, out: Console) -> None:
    """A table of coverage, one of figures per split, one of cosines, and the nearest items of ten."""
    out.print(_coverage(evidence))
    splits = list(next(iter(evidence.modalities.values())).splits)
    for split in splits:
        out.print(_figures(evidence, split))
    out.print(_NOTE, soft_wrap=True, highlight=False)
    if evidence.sampled:
        out.print(f"AUC and GAUC are with {evidence.sampled}", soft_wrap=True, highlight=False)
    out.print(_cosines(evidence, splits[-1]))
    for name, modality in evidence.modalities.items():
        out.print(_neighbours(name, modality))


def _table(title: str, text: int, *headings: str) -> Table:
    table = Table(title=title)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="left" if place < text else "right")
    return table


def _coverage(evidence: ContentEvidence) -> Table:
    table = _table(
        f"content {evidence.version}", 1, "modality", "width", "items", "with content", "history with content (test)"
    )
    for name, modality in evidence.modalities.items():
        *_, last = modality.splits.values()
        shares = (modality.with_content / max(modality.items, 1), last.with_history / max(last.requests, 1))
        table.add_row(name, str(modality.width), f"{modality.items:,}", *(f"{share:.1%}" for share in shares))
    return table


def _figures(evidence: ContentEvidence, split: str) -> Table:
    recalls = [f"recall@{k}" for k in RECALL_AT]
    columns = ("modality", "items", "candidates", "AUC", "GAUC", "clicks", *recalls, "MRR")
    table = _table(f"{split}: how near clicks lie to histories", 2, *columns)
    for name, modality in evidence.modalities.items():
        for bucket, found in modality.splits[split].slices.items():
            if found.candidates or bucket == OVERALL:
                table.add_row(name if bucket == OVERALL else "", bucket, *_cells(found))
        table.add_section()
    return table


def _cells(found: SliceEvidence) -> list[str]:
    ranked = [found.recall[str(k)] for k in RECALL_AT]
    values = [_number(value) for value in (found.auc, found.gauc)]
    return [f"{found.candidates:,}", *values, f"{found.clicks:,}", *map(_number, (*ranked, found.mrr))]


def _cosines(evidence: ContentEvidence, split: str) -> Table:
    columns = ("modality", "candidates", "number", "mean", "5 % below", "median", "5 % above")
    table = _table(f"{split}: mean cosine to the history", 2, *columns)
    for name, modality in evidence.modalities.items():
        found = modality.splits[split]
        table.add_row(name, "clicked", *_spread(found.clicked))
        table.add_row("", "not clicked", *_spread(found.not_clicked))
    return table


def _spread(found: CosineSpread) -> list[str]:
    return [f"{found.count:,}", *map(_number, (found.mean, found.low, found.median, found.high))]


def _neighbours(name: str, modality: ModalityEvidence) -> Table:
    table = _table(f"nearest by {name}", 1, "item", "shown in train", "nearest")
    for one in modality.neighbours:
        nearest = lines(
            *(f"{other.cosine:.2f} {other.title or other.item}" for other in one.nearest[:_SHOWN_NEIGHBOURS])
        )
        table.add_row(one.title or one.item, f"{one.train_impressions:,}", nearest)
    table.columns[-1].justify = "left"
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
