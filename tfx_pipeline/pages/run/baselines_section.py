"""What the model is worth beside rankers that only count or compare content: a section of the page of a run."""

from __future__ import annotations

from collections.abc import Sequence

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
from tfx_pipeline.pages.kit.page import Block, Prose, Section, Table
from tfx_pipeline.pages.kit.wording import count, decimal
from tfx_pipeline.pages.run.finished_run import FinishedRun
from tfx_pipeline.pages.run.scores import REQUESTS, Scores
from tfx_pipeline.transform.dataset import sampled_files, split_files

_ANCHOR, _TITLE = "baselines", "Beside rankers that only count"


def baselines_section(run: FinishedRun, scores: Scores | None, at_k: Sequence[int]) -> Section:
    """The model and rankers without one, on the same candidates of the test split.

    Args:
        run: has the examples.
        scores: of the model, by `score_test_split`; None: there is no model.
        at_k: of the metrics of the first k candidates of a request; the last is shown.

    Raises:
        DataError: the examples or the content are damaged.
    """
    examples, content = run.folder("BehaviorLogExampleGen", "examples"), run.folder("ItemContentGen", "content")
    report = run.record(IngestionReport, "BehaviorLogExampleGen", "report", artifact_files.INGESTION_REPORT)
    if scores is None or examples is None or report is None:
        return Section(_ANCHOR, _TITLE, [Prose("There is no model to compare with rankers that only count.")])

    def read(split: str, most: int, compared: ItemContentTable | None = None) -> ShownItems:
        files = sampled_files(split_files(examples, split), report.splits[split].requests, most)
        return read_shown_items(files, compared)

    with run.reading("ItemContentGen", "content"):
        table = None if content is None else read_content(content)
    with run.reading("BehaviorLogExampleGen", "examples"), console().status("counting items"):
        train = read("train", COUNTED_REQUESTS)
        found = baseline_metrics(baselines(train, read("test", REQUESTS, table)), at_k)
    names = ("auc", "gauc", *outlined(f"hr@{k}" for k in at_k), "log_loss")
    rankers = {"the model": values(scores.rows, names), **{title(ranker): one for ranker, one in found.items()}}
    rows = [(ranker, *(decimal(one.get(name)) for name in names)) for ranker, one in rankers.items()]
    columns = ("ranked by", *(f"{metric(name).title} ({metric(name).unit})" for name in names))
    caption = "The model beside rankers without one, on the same candidates of test"
    blocks: list[Block] = [
        Table(caption, columns, rows, numbers=len(names)),
        Prose(
            f"Counts are of {count(len(train.labels))} impressions of train; a smoothed click rate adds "
            f"{PRIOR_IMPRESSIONS} impressions at the rate of all to those of the item. A model that is not ahead of it "
            "has learned little beyond which items are clicked often."
        ),
    ]
    return Section(_ANCHOR, _TITLE, blocks)
