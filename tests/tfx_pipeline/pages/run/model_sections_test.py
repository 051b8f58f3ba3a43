"""Learning curves and metrics, also where a split or slice has no answer."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.tfx_pipeline.pages.runs import run_of
from tests.tfx_pipeline.pages.svg_boxes import legend, plot_area
from tfx_pipeline.evaluation.demands import Demand
from tfx_pipeline.evaluation.results import SplitMetrics
from tfx_pipeline.pages.kit.page import Page, Picture, Table, render
from tfx_pipeline.pages.run.baselines_section import Rankers
from tfx_pipeline.pages.run.demands_section import demands_section
from tfx_pipeline.pages.run.model_sections import calibration_section, headline, metrics_section, training_section
from tfx_pipeline.pages.run.scores import OVERALL, Scores
from tfx_pipeline.pages.run.slice_sections import failures_section, slices_section

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


def test_auxiliary_losses_have_curves_and_columns(tmp_path):
    epoch = {"auc": 0.7, "loss": 0.5, "val_auc": 0.6, "val_loss": 0.5, "loss/synthesis": 0.25, "loss/decoupling": -0.5}
    training = {"history": [epoch] * 2, "best_epoch": 0, "train_requests": 1000, "eval_requests": 100}
    run = run_of(
        tmp_path, {("RankingTrainer", "model_run"): {"training.json": {**training, "requests_per_second": None}}}
    )
    picture, table = training_section(run).blocks
    assert len(picture.panels) == 3
    assert all(f">{name}<" in picture.panels[-1].svg for name in ("synthesis", "decoupling"))
    assert picture.caption.endswith("penalties of weights in it, that of train the auxiliary losses too.")
    assert table.columns[-2:] == ("loss/synthesis, unweighted", "loss/decoupling, unweighted")
    assert table.rows[1][-2:] == ("0.2500", "-0.5000")


def test_of_several_objectives_the_best_epoch_is_that_of_the_mean(tmp_path):
    epoch = {"auc": 0.7, "loss": 0.5, "val_loss": 0.5}
    history = [{**epoch, "val_auc": first, "val_buy_auc": 0.6 + n / 10} for n, first in enumerate((0.7, 0.68))]
    training = {"history": history, "best_epoch": 1, "train_requests": 1000, "eval_requests": 100}
    run = run_of(
        tmp_path, {("RankingTrainer", "model_run"): {"training.json": {**training, "requests_per_second": None}}}
    )
    caption = training_section(run).blocks[0].caption
    assert (
        "epoch 2, where the mean of the objectives' eval AUCs is highest; the AUC shown is that of the first" in caption
    )


def test_test_split_comes_with_its_intervals(scores):
    table = metrics_section(METRICS, scores).blocks[0]
    assert [row[0] for row in table.rows] == ["test", "95\u00a0% interval", "eval"]
    assert table.rows[1][1] == "0.6900 to 0.7300"
    assert table.rows[1][2] == ""
    figures = headline(METRICS, scores, None)
    assert [figure.value for figure in figures] == ["0.7100", "0.7000", "0.4000", "0.9000", "1.1000"]
    assert figures[0].note.endswith("95\u00a0%: 0.6900 to 0.7300")
    assert "95" not in figures[1].note


def test_numbers_on_top_stand_beside_what_click_rates_alone_reach(scores):
    alone = {"auc": 0.61, "gauc": 0.59, "log_loss": 0.45}
    figures = headline(METRICS, scores, Rankers(alone, {"click_rate": alone}, 100))
    assert [figure.note.rpartition("; ")[2] for figure in figures] == [
        "0.6100 by click rates of items alone",
        "0.5900 by click rates of items alone",
        "0.4500 by click rates of items alone",
        "share of the base rate's",
        "predicted / observed clicks",
    ]


def test_slice_without_an_answer_is_a_dash_in_the_table_and_absent_from_the_picture(scores):
    section = slices_section(METRICS, scores)
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
    assert headline({}, None, None) == []
    assert "95" not in headline(METRICS, None, None)[0].note
    assert "no slices" in text(slices_section({}, None))
    assert "not evaluated" in text(failures_section({}, None))
    assert "not evaluated" in text(demands_section(None, None))


def test_slices_that_fall_behind_are_listed_with_what_is_wrong(scores):
    def slices(**buckets):
        return {"test": SplitMetrics(VALUES, {"item_frequency": buckets})}

    at_chance = {**VALUES, "auc": 0.49, "example_count": 5000.0}
    promising = {**VALUES, "calibration": 1.5, "example_count": 900.0}
    few = {**VALUES, "auc": 0.2, "calibration": 9.0, "example_count": 100.0}
    scores.intervals["item_frequency", "worse"] = {"auc": (0.6, 0.7)}
    buckets = {"fine": VALUES, "worse": VALUES, "chance": at_chance, "promising": promising, "few": few}
    table, _ = failures_section(slices(**buckets), scores).blocks
    assert [row[:2] for row in table.rows] == [
        ("item frequency: chance", "ranked no better than by chance"),
        ("item frequency: worse", "ranked worse than the whole"),
        ("item frequency: promising", "promises too many clicks"),
    ]
    good, _ = failures_section(slices(fine=VALUES), scores).blocks
    assert good.tone == "good"


def test_thresholds_stand_beside_what_was_found():
    demands = [Demand("auc", "at least 0.6", "0.71", True), Demand("log_loss", "at most -1", "", False)]
    gate = {"problems": [], "golden_requests": 16, "max_difference": {"keras_vs_rank": 6e-8, "two_step_vs_rank": 3e-8}}
    table, passed = demands_section(demands, gate).blocks
    assert table.rows == [
        ("reached", "AUC", "at least 0.6", "0.71"),
        ("missed", "log loss", "at most -1", "nothing"),
    ]
    assert "at most 6e-08" in passed.text
    none, refused = demands_section([], {**gate, "problems": ["rank is not finite."]}).blocks
    assert "No threshold" in none.text
    assert (refused.tone, "rank is not finite." in refused.text) == ("bad", True)


def test_no_legend_covers_a_curve(scores, tmp_path):
    history = [{"auc": 0.6, "loss": 0.5, "val_auc": 0.6, "val_loss": 0.5}] * 3
    training = {"history": history, "best_epoch": 1, "train_requests": 1000, "eval_requests": 100}
    training["requests_per_second"] = None
    run = run_of(tmp_path, {("RankingTrainer", "model_run"): {"training.json": training}})
    sections = [training_section(run), calibration_section(scores), slices_section(METRICS, scores)]
    pictures = [block for section in sections for block in section.blocks if isinstance(block, Picture)]
    drawings = [str(panel.svg) for picture in pictures for panel in picture.panels]
    boxes = [(legend(svg), plot_area(svg)) for svg in drawings]
    assert sum(box is not None for box, _ in boxes) == 3
    assert not [box for box, plot in boxes if box is not None and box.meets(plot)]


def test_scores_are_drawn_and_counted(scores):
    picture, table = calibration_section(scores).blocks
    clicked = int(scores.labels.sum())
    assert f"{clicked:,} clicked and {2000 - clicked:,} other" in picture.caption
    assert "A sample." in picture.caption
    assert sum(int(row[3].replace(",", "")) for row in table.rows) == 2000


def test_model_that_says_the_same_of_all_is_drawn(scores):
    constant = Scores(scores.labels, np.full(2000, 0.2, np.float32), scores.users, scores.requests, {}, "", "")
    assert "Share of clicks" in text(calibration_section(constant))


def test_columns_of_candidates_and_what_scores_know_of_them(tmp_path):
    epoch = {"auc": 0.6, "loss": 0.5, "val_auc": 0.6, "val_loss": 0.5}
    training = {"history": [epoch], "best_epoch": 0, "train_requests": 1000, "eval_requests": 100}
    training["requests_per_second"] = None
    candidate = {
        "price_shown": {"kind": "numeric", "role": "feature", "serving_value": None},
        "position": {"kind": "categorical", "role": "bias", "serving_value": "1"},
    }
    run = run_of(
        tmp_path,
        {("RankingTrainer", "model_run"): {"training.json": training}},
        settings={"training": json.dumps({"epochs": 1}), "features": json.dumps({"candidate": candidate})},
    )
    *_, table, prose = training_section(run).blocks
    assert table.rows == [
        ("price_shown", "numeric", "feature", "given by the request"),
        ("position", "categorical", "bias", "always 1"),
    ]
    assert "The curves are of scores that know position." in prose.text
