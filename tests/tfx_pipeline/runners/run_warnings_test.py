"""Warnings about a run: each in a case that deserves it, and none where nothing is wrong."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import replace
from typing import Any

import pytest

from tests.tfx_pipeline.pages.runs import INGESTION_REPORT
from tfx_pipeline.data.ingestion_report import IngestionReport
from tfx_pipeline.evaluation.results import SplitMetrics
from tfx_pipeline.runners.run_warnings import content_share, run_warnings
from tfx_pipeline.training.trainer import TrainingResult

GOOD = {"auc": 0.7, "normalized_entropy": 0.9, "calibration": 1.05, "base_rate": 0.2, "example_count": 1000.0}


def log(**positives: int) -> IngestionReport:
    """A log of 40 impressions a split, 8 of them clicked where not told otherwise."""
    values = copy.deepcopy(INGESTION_REPORT)
    for split, count in positives.items():
        values["splits"][split]["positives"] = count
    return IngestionReport.from_json(values)


def training(*aucs: float) -> TrainingResult:
    return TrainingResult([{"val_auc": auc} for auc in aucs], aucs.index(max(aucs)), 100, 10, None)


def metrics(slices: dict[str, dict[str, dict[str, Any]]] | None = None, **overall: float | None) -> dict:
    return {"test": SplitMetrics({**GOOD, **overall}, slices or {})}


def content(covered: float, others: float) -> dict[str, dict[str, dict[str, Any]]]:
    return {
        "content": {"with": {**GOOD, "example_count": covered}, "without": {**GOOD, "example_count": others}},
    }


def only(**given: Any) -> str:
    """The one warning of a run that is good but for what is given."""
    (found,) = run_warnings(**{**GOOD_RUN, **given})
    return found


GOOD_RUN: dict[str, Any] = {
    "ingestion": log(),
    "training": training(0.6, 0.7, 0.65),
    "epochs": 3,
    "metrics": metrics({"item_frequency": {"cold": GOOD, "head": GOOD}, **content(900, 800)}),
}


def test_a_good_run_has_none():
    assert run_warnings(**GOOD_RUN) == []


def test_batches_of_padding_are_told():
    assert "Batches of the training are 17% candidates" in only(
        training=replace(training(0.6, 0.7, 0.65), real_slots=0.17)
    )
    assert run_warnings(**{**GOOD_RUN, "training": replace(training(0.6, 0.7, 0.65), real_slots=0.5)}) == []


def test_retrieval_that_its_epoch_limit_ended():
    towers = TrainingResult([{"loss": 1.0, "val_recall@100": recall} for recall in (0.1, 0.3, 0.2)], 1, 100, 10, None)
    assert only(retrieval=towers, retrieval_epochs=2).startswith(
        "The epoch limit ended the training of retrieval: its best epoch was the last of 2."
    )
    assert run_warnings(**GOOD_RUN, retrieval=towers, retrieval_epochs=3) == []
    assert run_warnings(**GOOD_RUN, retrieval=towers) == []


def test_a_run_that_ended_early_has_none_about_what_it_lacks():
    assert run_warnings(None, None, None, {}) == []


def test_probabilities_that_are_worse_than_a_constant():
    assert only(metrics=metrics(normalized_entropy=1.0132)).startswith(
        "The model's probabilities are worse than a constant: normalised entropy of test is 1.0132, and 1 is what"
    )
    assert run_warnings(**{**GOOD_RUN, "metrics": metrics(normalized_entropy=1.0)}) == []
    assert run_warnings(**{**GOOD_RUN, "metrics": metrics(normalized_entropy=None)}) == []


@pytest.mark.parametrize(("ratio", "warned"), [(0.79, True), (0.8, False), (1.25, False), (1.26, True), (None, False)])
def test_calibration_that_is_far_off(ratio, warned):
    found = run_warnings(**{**GOOD_RUN, "metrics": metrics(calibration=ratio)})
    assert [warning.startswith(f"The model promises {ratio:.2f} times the clicks") for warning in found] == [
        True
    ] * warned


def test_calibration_that_is_off_in_a_slice_that_is_large_enough():
    found = only(
        metrics=metrics(
            {
                "item_frequency": {
                    "cold": {**GOOD, "calibration": 2.5},
                    "tail": GOOD,
                    "head": {**GOOD, "calibration": 0.7},
                }
            }
        )
    )
    assert found.startswith("Calibration is off in parts of test: item frequency cold 2.50, item frequency head 0.70.")
    small = {"history_length": {"empty": {**GOOD, "calibration": 2.5, "example_count": 100.0}}}
    assert only(metrics=metrics(small)).startswith("Slices of test with fewer than 50 clicks")


@pytest.mark.parametrize(("eval_positives", "warned"), [(3, True), (4, False), (16, False), (17, True)])
def test_a_click_rate_that_shifts_between_the_splits(eval_positives, warned):
    found = run_warnings(**{**GOOD_RUN, "ingestion": log(eval=eval_positives)})
    assert len(found) == warned
    if warned:
        assert f"a factor of 2: train 20.00%, eval {eval_positives / 40:.2%}, test 20.00%." in found[0]


def test_sampled_negatives_are_said_beside_the_figures():
    sampled = log()
    sampled = dataclasses.replace(sampled, negatives={"train": 32, "eval": 32, "test": 99 * 8})
    assert "Figures of test are of sampled negatives, 99 a positive: " in only(ingestion=sampled)
    # How many there are in a split is no shift of the click rate.
    sampled = dataclasses.replace(log(eval=1), negatives={"train": 32, "eval": 32, "test": 99 * 8})
    assert "sampled negatives" in only(ingestion=sampled)


@pytest.mark.parametrize(
    ("popularity", "click_rate", "said"),
    [
        (0.395, 0.6, "AUC of its impressions 0.395, far"),
        (0.6, 0.3, "AUC of its click rate 0.300, far"),
        (0.2, 0.3, "AUC of its impressions 0.200 and its click rate 0.300, far"),
    ],
)
def test_counts_of_train_that_tell_the_negatives_of_test(popularity, click_rate, said):
    rankers = {"popularity": {"auc": popularity}, "click_rate": {"auc": click_rate}, "constant": {"auc": 0.5}}
    assert said in only(baselines=rankers)


def test_counts_of_train_that_are_below_chance_by_chance():
    rankers = {"popularity": {"auc": 0.44}, "click_rate": {"auc": None}}
    assert run_warnings(**{**GOOD_RUN, "baselines": rankers}) == []
    # Of 100,000 candidates the same is none.
    large = metrics({"item_frequency": {"cold": GOOD, "head": GOOD}, **content(900, 800)}, example_count=1e5)
    assert "impressions 0.440" in only(baselines=rankers, metrics=large)


def test_content_that_covers_few_impressions():
    assert only(metrics=metrics(content(490, 510))).startswith("Content covers 49.0% of the impressions of test")
    assert run_warnings(**{**GOOD_RUN, "metrics": metrics(content(500, 500))}) == []


def test_the_share_of_impressions_with_content():
    assert content_share(metrics(content(300, 100))["test"]) == 0.75
    assert content_share(metrics({"content": {"without": GOOD}})["test"]) == 0
    assert content_share(metrics()["test"]) is None


def test_a_training_that_sat_at_chance():
    assert only(training=training(0.4993, 0.5017, 0.5011)).startswith(
        "The training never left chance: its best eval AUC is 0.5017, and 0.51 is the least"
    )
    assert run_warnings(**{**GOOD_RUN, "training": training(0.5, 0.52, 0.51)}) == []


def test_an_epoch_limit_that_bound():
    assert only(training=training(0.6, 0.7, 0.75)).startswith(
        "The epoch limit ended the training: the best epoch was the last of 3."
    )
    assert run_warnings(**{**GOOD_RUN, "training": training(0.6, 0.7, 0.75), "epochs": 4}) == []
    assert run_warnings(**{**GOOD_RUN, "training": training(0.6, 0.7, 0.75), "epochs": None}) == []


def test_slices_that_are_too_small_to_say_anything():
    few = {**GOOD, "example_count": 249.0}
    clicked = {**GOOD, "example_count": 100.0, "base_rate": 0.9, "calibration": 9.0}
    none = dict.fromkeys(GOOD, None) | {"example_count": 3.0, "base_rate": 0.0}
    assert only(metrics=metrics({"item_frequency": {"cold": none, "rare": few, "tail": clicked, "head": GOOD}})) == (
        "Slices of test with fewer than 50 clicks, or impressions without one, say nothing: item frequency cold, item "
        "frequency rare, item frequency tail."
    )
