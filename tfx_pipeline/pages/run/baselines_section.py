"""What the model is worth beside rankers that only count: a section of the page of a run."""

from __future__ import annotations

from tfx_pipeline.console import console
from tfx_pipeline.data.ingestion_report import IngestionReport
from tfx_pipeline.evaluation.baselines import PRIOR_IMPRESSIONS, Baselines, ShownItems, baselines, read_shown_items
from tfx_pipeline.evaluation.metrics import GAUC, CandidateAUC, CandidateRows, LogLoss
from tfx_pipeline.files import artifact_files
from tfx_pipeline.pages.kit.page import Block, Prose, Section, Table
from tfx_pipeline.pages.kit.wording import count, decimal
from tfx_pipeline.pages.run.finished_run import FinishedRun
from tfx_pipeline.pages.run.scores import REQUESTS, Scores, sampled_files
from tfx_pipeline.transform.dataset import split_files

# Of train, to count items in: more change the counts of rare items alone.
COUNTED_REQUESTS = 200_000
_ANCHOR, _TITLE = "baselines", "Beside rankers that only count"


def baselines_section(run: FinishedRun, scores: Scores | None) -> Section:
    """The model and three rankers without one, on the same candidates of the test split.

    Args:
        run: has the examples.
        scores: of the model, by `score_test_split`; None: there is no model.

    Raises:
        DataError: the examples are damaged.
    """
    examples = run.folder("BehaviorLogExampleGen", "examples")
    report = run.record(IngestionReport, "BehaviorLogExampleGen", "report", artifact_files.INGESTION_REPORT)
    if scores is None or examples is None or report is None:
        return Section(_ANCHOR, _TITLE, [Prose("There is no model to compare with rankers that only count.")])

    def read(split: str, most: int) -> ShownItems:
        return read_shown_items(sampled_files(split_files(examples, split), report.splits[split].requests, most))

    with run.reading("BehaviorLogExampleGen", "examples"), console().status("counting items"):
        train = read("train", COUNTED_REQUESTS)
        found = baselines(train, read("test", REQUESTS))
    return Section(_ANCHOR, _TITLE, _blocks(scores, found, len(train.labels)))


def _blocks(scores: Scores, found: Baselines, counted: int) -> list[Block]:
    model = CandidateRows(scores.labels, scores.predictions, scores.users)
    rankers: list[tuple[str, CandidateRows, bool]] = [
        ("the model", model, True),
        ("click rate of the item in train, smoothed", found.click_rate, True),
        ("impressions of the item in train", found.popularity, False),
        ("click rate of train, for all", found.constant, True),
    ]
    rows = [
        (
            name,
            decimal(CandidateAUC.compute(one)),
            decimal(GAUC.compute(one)),
            decimal(LogLoss.compute(one)) if is_probability else "–",
        )
        for name, one, is_probability in rankers
    ]
    columns = ("ranked by", "AUC (0.5 to 1)", "GAUC (0.5 to 1)", "log loss (nats)")
    table = Table("The model beside rankers that only count, on the same candidates of test", columns, rows, numbers=3)
    return [
        table,
        Prose(
            f"Counts are of {count(counted)} impressions of train; a smoothed click rate adds "
            f"{PRIOR_IMPRESSIONS} impressions at the rate of all to those of the item. A model that is not ahead of it "
            "has learned little beyond which items are clicked often."
        ),
    ]
