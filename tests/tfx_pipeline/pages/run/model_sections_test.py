"""Learning curves and metrics, also where a split or slice has no answer."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.tfx_pipeline.pages.runs import run_of
from tfx_pipeline.evaluation.results import SplitMetrics
from tfx_pipeline.pages.kit.page import Page, Picture, Table, render
from tfx_pipeline.pages.run.model_sections import calibration_section, headline, metrics_section, training_section
from tfx_pipeline.pages.run.scores import OVERALL, Scores

VALUES = {
    "auc": 0.71,
    "gauc": 0.7,
    "log_loss": 0.4,
    "normalized_entropy": 0.9,
    "calibration": 1.1,
    "base_rate": 0.2,
    "example_count": 1234.0,
}
NOTHING = {**dict.fromkeys(VALUES, None), "base_rate": 0.0, "example_count": 3.0}
METRICS = {
    "eval": SplitMetrics(VALUES, {}),
    "test": SplitMetrics(
        VALUES,
        {"item_frequency": {"cold": NOTHING, "tail": VALUES, "head": VALUES}, "content": {"with": VALUES}},
    ),
}


@pytest.fixture
def scores() -> Scores:
    rng = np.random.default_rng(0)
    predictions = rng.beta(1, 4, 2000).astype(np.float32)
    intervals = {OVERALL: {"auc": (0.69, 0.73)}, ("item_frequency", "head"): {"auc": (0.6, 0.8)}}
    users = rng.integers(0, 200, 2000).astype(np.uint64)
    requests = users.astype(np.int32)
    return Scores(rng.random(2000) < predictions, predictions, users, requests, intervals, "A sample.", "A method.")


def text(*sections) -> str:
    return render(Page("t", "s", [], [], list(sections)))


def test_best_epoch_and_early_stop_are_said(tmp_path):
    history = [{"auc": 0.6 + n / 10, "loss": 0.5, "val_auc": [0.6, 0.7, 0.65][n], "val_loss": 0.5} for n in range(3)]
    training = {"history": history, "best_epoch": 1, "train_requests": 1000, "eval_requests": 100}
    training["requests_per_second"] = None
    run = run_of(
        tmp_path,
        {("RankingTrainer", "model_run"): {"training.json": training}},
        settings={"training": json.dumps({"epochs": 6})},
    )
    picture, table = training_section(run).blocks
    assert isinstance(picture, Picture)
    assert "stopped after 3 of at most 6 epochs; the model that was kept is that of epoch 2" in picture.caption
    assert table.rows[1] == ("2", "0.7000", "0.7000", "0.5000", "0.5000")


def test_test_split_comes_with_its_intervals(scores):
    table = metrics_section(METRICS, scores).blocks[0]
    assert [row[0] for row in table.rows] == ["test", "95\u00a0% interval", "eval"]
    assert table.rows[1][1] == "0.6900 to 0.7300"
    assert table.rows[1][2] == ""
    figures = headline(METRICS, scores)
    assert [figure.value for figure in figures] == ["0.7100", "0.7000", "0.4000", "0.9000", "1.1000"]
    assert figures[0].note.endswith("95\u00a0%: 0.6900 to 0.7300")
    assert "95" not in figures[1].note


def test_slice_without_an_answer_is_a_dash_in_the_table_and_absent_from_the_picture(scores):
    section = metrics_section(METRICS, scores)
    (picture,) = (block for block in section.blocks if isinstance(block, Picture))
    # Content has one bucket: there is nothing to compare it with.
    assert len(picture.panels) == 1
    assert "cold" not in str(picture.panels[0].svg).split("</title>")[1]
    table = [block for block in section.blocks if isinstance(block, Table)][-1]
    assert table.rows[0][:5] == ("item frequency", "cold", "–", "", "–")
    assert "nan" not in text(section)


def test_run_without_evaluation_or_model_says_so():
    assert "not evaluated" in text(metrics_section({}, None))
    assert "no model" in text(calibration_section(None))
    assert headline({}, None) == []
    assert "95" not in headline(METRICS, None)[0].note


def test_scores_are_drawn_and_counted(scores):
    picture, table = calibration_section(scores).blocks
    clicked = int(scores.labels.sum())
    assert f"{clicked:,} clicked and {2000 - clicked:,} other" in picture.caption
    assert "A sample." in picture.caption
    assert sum(int(row[3].replace(",", "")) for row in table.rows) == 2000


def test_model_that_says_the_same_of_all_is_drawn(scores):
    constant = Scores(scores.labels, np.full(2000, 0.2, np.float32), scores.users, scores.requests, {}, "", "")
    assert "Share of clicks" in text(calibration_section(constant))
