"""What the model is worth beside rankers that only count: a section of the page of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tfx_pipeline.console import console
from tfx_pipeline.data.ingestion_report import IngestionReport
from tfx_pipeline.evaluation.baselines import PRIOR_IMPRESSIONS, ShownItems, baselines, read_shown_items
from tfx_pipeline.evaluation.metrics import GAUC, CandidateAUC, CandidateRows, LogLoss
from tfx_pipeline.files import artifact_files
from tfx_pipeline.pages.kit.page import Prose, Section, Table
from tfx_pipeline.pages.kit.wording import count, decimal
from tfx_pipeline.pages.run.finished_run import FinishedRun
from tfx_pipeline.pages.run.scores import REQUESTS, Scores, sampled_files
from tfx_pipeline.transform.dataset import split_files

# Of train, to count items in: more change the counts of rare items alone.
COUNTED_REQUESTS = 200_000
_ANCHOR, _TITLE = "baselines", "Beside rankers that only count"


@dataclass(frozen=True)
class Ranker:
    """A way to rank the sampled candidates of test, and what it is worth; `log_loss` is None of no probability."""

    name: str
    auc: float
    gauc: float
    log_loss: float | None


@dataclass(frozen=True)
class Rankers:
    """The model and rankers that only count, on the same candidates; `counted`: impressions of train they know."""

    model: Ranker
    click_rate: Ranker
    popularity: Ranker
    constant: Ranker
    counted: int

    @property
    def in_order(self) -> Sequence[Ranker]:
        """As a page shows them."""
        return self.model, self.click_rate, self.popularity, self.constant


def count_rankers(run: FinishedRun, scores: Scores | None) -> Rankers | None:
    """The model and three rankers without one, on the same candidates of the test split.

    Args:
        run: has the examples.
        scores: of the model, by `score_test_split`; None: there is no model.

    Returns:
        None where there is no model, or there are no examples.

    Raises:
        DataError: the examples are damaged.
    """
    examples = run.folder("BehaviorLogExampleGen", "examples")
    report = run.record(IngestionReport, "BehaviorLogExampleGen", "report", artifact_files.INGESTION_REPORT)
    if scores is None or examples is None or report is None:
        return None

    def read(split: str, most: int) -> ShownItems:
        return read_shown_items(sampled_files(split_files(examples, split), report.splits[split].requests, most))

    with run.reading("BehaviorLogExampleGen", "examples"), console().status("counting items"):
        train = read("train", COUNTED_REQUESTS)
        found = baselines(train, read("test", REQUESTS))
    return Rankers(
        _ranker("the model", CandidateRows(scores.labels, scores.predictions, scores.users)),
        _ranker("click rate of the item in train, smoothed", found.click_rate),
        _ranker("popularity: impressions of the item in train", found.popularity, is_probability=False),
        _ranker("constant: click rate of train, for all", found.constant),
        len(train.labels),
    )


def _ranker(name: str, rows: CandidateRows, *, is_probability: bool = True) -> Ranker:
    log_loss = LogLoss.compute(rows) if is_probability else None
    return Ranker(name, CandidateAUC.compute(rows), GAUC.compute(rows), log_loss)


def baselines_section(rankers: Rankers | None) -> Section:
    """The model beside rankers that only count."""
    if rankers is None:
        return Section(_ANCHOR, _TITLE, [Prose("There is no model to compare with rankers that only count.")])
    rows = [(one.name, decimal(one.auc), decimal(one.gauc), decimal(one.log_loss)) for one in rankers.in_order]
    columns = ("ranked by", "AUC (0.5 to 1)", "GAUC (0.5 to 1)", "log loss (nats)")
    table = Table("The model beside rankers that only count, on the same candidates of test", columns, rows, numbers=3)
    method = (
        f"Counts are of {count(rankers.counted)} impressions of train; a smoothed click rate adds "
        f"{PRIOR_IMPRESSIONS} impressions at the rate of all to those of the item. A model that is not ahead of it "
        "has learned little beyond which items are clicked often."
    )
    return Section(_ANCHOR, _TITLE, [table, Prose(method)])
