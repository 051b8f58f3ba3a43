"""What the page of a run says of the stage that finds candidates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.tfx_pipeline.pages.runs import run_of
from tfx_pipeline.pages.kit.page import Page, Picture, Table, render
from tfx_pipeline.pages.run.finished_run import FinishedRun
from tfx_pipeline.pages.run.retrieval_section import retrieval_sections

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


def run(output: Path, metadata: dict[str, Any]) -> FinishedRun:
    documents = {
        ("RetrievalTrainer", "model_run"): {"training.json": TRAINING},
        ("RankingTrainer", "model"): {"Format-Serving/assets.extra/metadata.json": {"config": {}, **metadata}},
    }
    return run_of(output, documents, settings={"retrieval": json.dumps({"epochs": 10})})


def test_recall_by_epoch_and_what_is_exported(tmp_path):
    (section,) = retrieval_sections(run(tmp_path, {"retrieval": STAGE}))
    picture, epochs, exported, params = section.blocks
    assert isinstance(picture, Picture)
    assert picture.caption.startswith("Training stopped after 3 of at most 10 epochs; the two towers that were kept")
    assert "those of epoch 2, where recall@100 on eval is highest" in picture.caption
    assert isinstance(epochs, Table) and epochs.rows[1] == ("2", "0.4500", "2.0000")
    assert exported.rows == [("12,000", "64", "3.1 MB", "500")]
    assert params.rows == [("id_dim", "32")]
    page = render(Page("t", "s", [], [], [section]))
    assert "recall@100 of eval by epoch; best epoch 2" in page


def test_a_model_that_does_not_say_what_it_exports_has_its_training(tmp_path):
    (section,) = retrieval_sections(run(tmp_path, {}))
    assert [block.kind for block in section.blocks] == ["picture", "table"]


def test_a_run_without_the_stage_has_no_section(tmp_path):
    assert retrieval_sections(run_of(tmp_path, {})) == []
