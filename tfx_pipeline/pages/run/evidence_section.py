"""The section of a run's page about what content says of clicks, before any ranker."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from tfx_pipeline.config.schema import Evaluation
from tfx_pipeline.console import console
from tfx_pipeline.data.content.table import read_content
from tfx_pipeline.data.ingestion_report import IngestionReport
from tfx_pipeline.evaluation.content_evidence import (
    BINS,
    OVERALL,
    RECALL_AT,
    ContentEvidence,
    ModalityEvidence,
    content_evidence,
    count_impressions,
)
from tfx_pipeline.evaluation.requests import read_all_requests
from tfx_pipeline.files import artifact_files
from tfx_pipeline.pages.kit.figures import draw
from tfx_pipeline.pages.kit.page import Block, Panel, Picture, Prose, Section, Table
from tfx_pipeline.pages.kit.palette import line
from tfx_pipeline.pages.kit.wording import count, decimal, percent
from tfx_pipeline.pages.run.finished_run import FinishedRun
from tfx_pipeline.training.content_tuning.record import FineTuningRecord
from tfx_pipeline.transform.dataset import sampled_files, split_files

_ANCHOR, _TITLE = "evidence", "What content says of the next click"
# Enough for the second digit of a recall, and quick.
_CLICKS, _REQUESTS = 5_000, 50_000
_NEIGHBOURS = 3


def evidence_section(run: FinishedRun) -> Section:
    """Of the test split, for a run with content and examples.

    Raises:
        DataError: the examples or the content are damaged.
    """
    examples, content = run.folder("BehaviorLogExampleGen", "examples"), run.folder(run.content_step, "content")
    report = run.record(IngestionReport, "BehaviorLogExampleGen", "report", artifact_files.INGESTION_REPORT)
    if examples is None or content is None or report is None:
        return Section(_ANCHOR, _TITLE, [Prose("The run has no examples or no catalogue.")])
    with run.reading(run.content_step, "content"):
        table = read_content(content)
    if not table.modalities:
        return Section(_ANCHOR, _TITLE, [Prose("The catalogue has no content embeddings.")])
    with run.reading("BehaviorLogExampleGen", "examples"), console().status("comparing content with clicks"):
        train, test = (
            read_all_requests(
                sampled_files(split_files(examples, split), report.splits[split].requests, _REQUESTS), table.item_ids
            )
            for split in ("train", "test")
        )
        impressions = count_impressions(train, len(table.item_ids))
        evidence = content_evidence(
            table,
            {"test": test},
            impressions,
            Evaluation.model_validate(run.section("evaluation")),
            sampled=report.sampled_negatives("test"),
            most=_CLICKS,
        )
    tuned = run.record(FineTuningRecord, run.content_step, "content", artifact_files.FINE_TUNING)
    return Section(_ANCHOR, _TITLE, blocks(evidence, tuned))


def blocks(evidence: ContentEvidence, tuned: FineTuningRecord | None) -> list[Block]:
    """The section's tables and drawings."""
    found: list[Block] = [_figures(evidence)]
    if evidence.sampled:
        found.append(Prose(f"AUC and GAUC are with {evidence.sampled}."))
    if tuned is not None:
        found.append(_fine_tuning(tuned))
    panels = [_histogram(name, modality) for name, modality in evidence.modalities.items()]
    found.append(Picture(panels, "The further apart the two lines lie, the more content tells clicks from the rest."))
    *_, (name, modality) = evidence.modalities.items()
    return [*found, _neighbours(name, modality)]


def _figures(evidence: ContentEvidence) -> Table:
    rows = []
    for name, modality in evidence.modalities.items():
        split = modality.splits["test"]
        overall = split.slices[OVERALL]
        numbers = (overall.auc, overall.gauc, *(overall.recall[str(k)] for k in RECALL_AT), overall.mrr)
        share = percent(split.with_history / max(split.requests, 1))
        rows.append((name, str(modality.width), share, count(overall.clicks), *map(decimal, numbers)))
    recalls = [f"recall@{k}" for k in RECALL_AT]
    columns = ("content", "width", "histories with content", "clicks", "AUC", "GAUC", *recalls, "MRR")
    caption = (
        "No ranker: AUC and GAUC of the mean cosine of candidates to their history; recall and MRR of the next click "
        "among all items with content"
    )
    return Table(caption, columns, rows, numbers=len(columns) - 1)


def _fine_tuning(tuned: FineTuningRecord) -> Prose:
    told = (
        f"Fine-tuning learned from {count(tuned.clicks)} clicks of train, all before {tuned.eval_from[:16]}. Recall at "
        f"{tuned.recall_at} of the next click on eval was {decimal(tuned.before)} before it"
    )
    if not tuned.best:
        return Prose(f"{told}, and no epoch was better: the tuned vectors are a reduction by PCA.", "warning")
    return Prose(f"{told} and {decimal(tuned.after)} after epoch {tuned.best} of {len(tuned.epochs) - 1}.")


def _histogram(name: str, modality: ModalityEvidence) -> Panel:
    split = modality.splits["test"]
    borders = np.linspace(-1, 1, BINS + 1)
    middles = (borders[:-1] + borders[1:]) / 2

    def paint(axes: Axes) -> None:
        filled = np.zeros(BINS, bool)
        for number, (label, spread) in enumerate((("clicked", split.clicked), ("not clicked", split.not_clicked))):
            counts = np.array(spread.histogram)
            filled |= counts > 0
            axes.step(middles, 100 * counts / max(counts.sum(), 1), where="mid", label=label, **line(number))
        shown = np.flatnonzero(filled)
        if len(shown):
            axes.set_xlim(borders[shown[0]], borders[shown[-1] + 1])
        axes.set(xlabel=f"mean cosine of {name}", ylabel="% of the candidates", ylim=(0, None))

    return draw(f"evidence-{name.replace(' ', '-')}", f"Clicked and not clicked by mean cosine of {name}", paint)


def _neighbours(name: str, modality: ModalityEvidence) -> Table:
    rows = [
        (
            one.title or one.item,
            *(f"{other.title or other.item} ({other.cosine:.2f})" for other in one.nearest[:_NEIGHBOURS]),
            *[""] * (_NEIGHBOURS - len(one.nearest)),
            count(one.train_impressions),
        )
        for one in modality.neighbours
    ]
    columns = ("item", "nearest (cosine)", "second", "third", "shown in train")
    return Table(f"Items and the nearest to them by {name}", columns, rows, numbers=1)
