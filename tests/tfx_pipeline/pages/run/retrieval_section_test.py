"""What the page of a run says of the stage that finds candidates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.tfx_pipeline.pages.runs import run_of
from tfx_pipeline.errors import DataError
from tfx_pipeline.pages.kit.page import Page, Picture, Table, render
from tfx_pipeline.pages.run.finished_run import FinishedRun
from tfx_pipeline.pages.run.retrieval_evaluation import RetrievalEvaluation, read_evaluation
from tfx_pipeline.pages.run.retrieval_section import retrieval_sections
from tfx_pipeline.studies.retrieval.report import FORMAT, Estimate, ListEntry, RetrievalReport, WholeRanking

TRAINING = {
    "history": [{"loss": 3 - n, "val_recall@100": recall} for n, recall in enumerate((0.2, 0.45, 0.4))],
    "best_epoch": 1,
    "train_requests": 1000,
    "eval_requests": 100,
    "requests_per_second": None,
}
STAGE = {
    "items": 12_000,
    "width": 64,
    "index_bytes": 3_072_000,
    "ranked_candidates": 500,
    "params": {"id_dim": 32},
    "epochs": 3,
    "best_epoch": 1,
    "metrics": TRAINING["history"][1],
}
SOME = Estimate(0.12, 0.1, 0.14)
# As `dmf retrieval evaluate --cascade` has it.
EVALUATION = RetrievalReport(
    format=FORMAT,
    pipeline="tiny",
    created="2026-01-02T03:04:05Z",
    split="test",
    at_k=[10, 100],
    items=12_000,
    head_items=600,
    frequency="impressions",
    requests=1000,
    positives=1200,
    without_positive=0,
    unknown_positives=0,
    resamples=500,
    confidence=0.95,
    lists=[
        ListEntry("two_towers", None, {"recall@10": SOME, "recall@100": Estimate(0.5, None, None)}, {}, {}, {}, 1.0),
        ListEntry("two_towers", 100, {"recall@10": SOME, "ndcg@10": SOME}, {}, {}, {}, 1.0),
    ],
    ranker=WholeRanking("dmf", {"ndcg@10": SOME}, 2.0),
)


def run(output: Path, metadata: dict[str, Any]) -> FinishedRun:
    documents = {
        ("RetrievalTrainer", "model_run"): {"training.json": TRAINING},
        ("RankingTrainer", "model"): {"Format-Serving/assets.extra/metadata.json": {"config": {}, **metadata}},
    }
    return run_of(output, documents, settings={"retrieval": json.dumps({"epochs": 10})})


def test_recall_by_epoch_and_what_is_exported(tmp_path):
    (section,) = retrieval_sections(run(tmp_path, {"retrieval": STAGE}))
    picture, epochs, exported, params, unmeasured = section.blocks
    assert isinstance(picture, Picture)
    assert picture.caption.startswith("Training stopped after 3 of at most 10 epochs; the two towers that were kept")
    assert "those of epoch 2, where recall@100 on eval is highest" in picture.caption
    assert isinstance(epochs, Table) and epochs.rows[1] == ("2", "0.4500", "2.0000")
    assert exported.rows == [("12,000", "64", "3.1 MB", "500", "score")]
    assert params.rows == [("id_dim", "32")]
    assert "dmf report --retrieval FILE" in unmeasured.text
    page = render(Page("t", "s", [], [], [section]))
    assert "recall@100 of eval by epoch; best epoch 2" in page
    (weighted,) = retrieval_sections(run(tmp_path / "weighted", {"retrieval": {**STAGE, "retrieval_weight": 2.0}}))
    assert weighted.blocks[2].rows[0][-1] == "logit(score) + 2 x retrieval's"


@pytest.mark.slow
def test_a_model_that_does_not_say_what_it_exports_has_its_training(tmp_path):
    (section,) = retrieval_sections(run(tmp_path, {}))
    assert [block.kind for block in section.blocks] == ["picture", "table", "prose"]


def test_a_run_without_the_stage_has_no_section(tmp_path):
    assert retrieval_sections(run_of(tmp_path, {})) == []


def test_an_evaluation_is_tables_by_recall_and_ndcg(tmp_path):
    file = tmp_path / "retrieval.json"
    file.write_text(json.dumps(EVALUATION.to_json()))
    (section,) = retrieval_sections(run_of(tmp_path, {}), read_evaluation(file))
    words, recall, ndcg = section.blocks
    assert words.text.startswith("By dmf retrieval evaluate, 2026-01-02 03:04 UTC:")
    assert "Each of 1,000 requests of test ranks the 12,000 items of the catalogue" in words.text
    assert recall.columns == ("retriever", "Recall@10", "Recall@100")
    assert recall.caption.startswith("Recall, 0 to 1, of test")
    assert recall.rows == [
        ("two towers", "0.120 (0.100 to 0.140)", "0.500"),
        ("two towers, 100 ranked by dmf", "0.120 (0.100 to 0.140)", "–"),
    ]
    assert ndcg.rows[-1] == ("dmf, all items", "0.120 (0.100 to 0.140)", "–")


def test_an_evaluation_of_another_pipeline_is_refused(tmp_path):
    with pytest.raises(DataError, match="the evaluation is of pipeline 'tiny', the run of 'other'"):
        retrieval_sections(run_of(tmp_path, {}, pipeline="other"), RetrievalEvaluation.from_json(EVALUATION.to_json()))


@pytest.mark.parametrize("text", ["", "[]", '{"lists": []}', "not json"])
def test_other_files_are_refused_as_evaluation(tmp_path, text):
    file = tmp_path / "retrieval.json"
    file.write_text(text)
    with pytest.raises(DataError, match=r"--retrieval: .*retrieval\.json"):
        read_evaluation(file)
    with pytest.raises(DataError, match="cannot read"):
        read_evaluation(tmp_path / "absent.json")
