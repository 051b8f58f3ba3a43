"""What the model is worth beside rankers that only count or compare content: a section of the page of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tfx_pipeline.config.metrics import metric, outlined
from tfx_pipeline.console import console
from tfx_pipeline.data.content.table import ItemContentTable, read_content
from tfx_pipeline.data.ingestion_report import IngestionReport
from tfx_pipeline.evaluation.baselines import (
    COUNTED_REQUESTS,
    PRIOR_IMPRESSIONS,
    ShownItems,
    baseline_metrics,
    baselines,
    read_shown_items,
    title,
)
from tfx_pipeline.evaluation.metrics import values
from tfx_pipeline.files import artifact_files
from tfx_pipeline.pages.kit.page import Prose, Section, Table
from tfx_pipeline.pages.kit.wording import count, decimal
from tfx_pipeline.pages.run.finished_run import FinishedRun
from tfx_pipeline.pages.run.scores import REQUESTS, Scores
from tfx_pipeline.transform.dataset import sampled_files, split_files

_ANCHOR, _TITLE = "baselines", "Beside rankers that only count"


@dataclass(frozen=True)
class Rankers:
    """The model and rankers without one, on the same sampled candidates of test.

    Attributes:
        model: its metrics, by name.
        others: those of the rankers of `baselines`; log loss is absent of what gives no probability.
        counted: impressions of train that they know.
    """

    model: Mapping[str, float]
    others: Mapping[str, Mapping[str, float]]
    counted: int

    @property
    def click_rate(self) -> Mapping[str, float]:
        """Of the items' smoothed click rates in train."""
        return self.others["click_rate"]


def count_rankers(run: FinishedRun, scores: Scores | None, at_k: Sequence[int]) -> Rankers | None:
    """The model and rankers without one, on the same candidates of the test split.

    Args:
        run: has the examples.
        scores: of the model, by `score_test_split`; None: there is no model.
        at_k: of the metrics of the first k candidates of a request; the last is shown.

    Returns:
        None where there is no model, or there are no examples.

    Raises:
        DataError: the examples or the content are damaged.
    """
    examples, content = run.folder("BehaviorLogExampleGen", "examples"), run.folder(run.content_step, "content")
    report = run.record(IngestionReport, "BehaviorLogExampleGen", "report", artifact_files.INGESTION_REPORT)
    if scores is None or examples is None or report is None:
        return None

    def read(split: str, most: int, compared: ItemContentTable | None = None) -> ShownItems:
        files = sampled_files(split_files(examples, split), report.splits[split].requests, most)
        return read_shown_items(files, compared)

    with run.reading(run.content_step, "content"):
        table = None if content is None else read_content(content)
    with run.reading("BehaviorLogExampleGen", "examples"), console().status("counting items"):
        train = read("train", COUNTED_REQUESTS)
        found = baseline_metrics(baselines(train, read("test", REQUESTS, table)), at_k)
    names = ("auc", "gauc", *outlined(f"hr@{k}" for k in at_k), "log_loss")
    return Rankers(values(scores.rows, names), found, len(train.labels))


def baselines_section(rankers: Rankers | None) -> Section:
    """The model beside rankers without one."""
    if rankers is None:
        return Section(_ANCHOR, _TITLE, [Prose("There is no model to compare with rankers that only count.")])
    shown = {"the model": rankers.model, **{title(name): found for name, found in rankers.others.items()}}
    rows = [(ranker, *(decimal(found.get(name)) for name in rankers.model)) for ranker, found in shown.items()]
    columns = ("ranked by", *(f"{metric(name).title} ({metric(name).unit})" for name in rankers.model))
    caption = "The model beside rankers without one, on the same candidates of test"
    method = (
        f"Counts are of {count(rankers.counted)} impressions of train; a smoothed click rate adds "
        f"{PRIOR_IMPRESSIONS} impressions at the rate of all to those of the item. A model that is not ahead of it "
        "has learned little beyond which items are clicked often."
    )
    return Section(_ANCHOR, _TITLE, [Table(caption, columns, rows, numbers=len(rankers.model)), Prose(method)])
