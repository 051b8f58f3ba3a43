"""A metric has one value, whoever computes it: the library, its Keras metric, the Evaluator, a resample, a page."""

from __future__ import annotations

import numpy as np
import pytest

from dmf_keras import metrics as library
from tfx_pipeline.evaluation import metrics as evaluator
from tfx_pipeline.evaluation.bootstrap import resampled_metrics
from tfx_pipeline.evaluation.candidate_table import CandidateTable
from tfx_pipeline.pages.run.scores import OVERALL, bootstrap_intervals

RNG = np.random.default_rng(0)
CASES = {
    "sure and wrong": ([1, 0], [0.0, 1.0]),
    "sure and wrong once": ([1, 0], [0.0, 0.5]),
    "sure and right": ([1, 0, 1], [1.0, 0.0, 0.5]),
    "next to 1 and to 0": ([0, 1, 0, 1], [1 - 6e-8, 1e-8, 1 - 1.2e-7, 1e-7]),
    "plain": (RNG.integers(0, 2, 200), RNG.random(200)),
}


@pytest.fixture(params=CASES)
def rows(request) -> CandidateTable:
    """All of one user, so that every resample of users is the rows themselves."""
    labels, probabilities = CASES[request.param]
    nothing = np.zeros(len(labels), np.int64)
    return CandidateTable(
        labels=np.array(labels, bool),
        probabilities=np.array(probabilities, np.float32),
        users=nothing.astype(np.uint64),
        requests=np.arange(len(labels), dtype=np.int32) // 7,
        train_impressions=nothing,
        history_lengths=nothing,
        has_content=nothing.astype(bool),
    )


def streamed(metric, rows: CandidateTable) -> float:
    metric.update_state(rows.labels, rows.probabilities)
    return float(metric.result())


def test_log_loss(rows):
    expected = library.log_loss(rows.labels, rows.probabilities)
    assert evaluator.LogLoss.compute(rows.rows()) == pytest.approx(expected, rel=1e-12)
    drawn = resampled_metrics(rows.labels, rows.users, [rows.probabilities], resamples=2)["log_loss"]
    assert drawn.ravel() == pytest.approx([expected] * 2, rel=1e-12)
    assert bootstrap_intervals(rows, {}, 2)[OVERALL]["log_loss"] == pytest.approx([expected] * 2, rel=1e-12)


def test_normalized_entropy(rows):
    expected = library.normalized_entropy(rows.labels, rows.probabilities)
    assert evaluator.NormalizedEntropy.compute(rows.rows()) == pytest.approx(expected, rel=1e-12)
    assert bootstrap_intervals(rows, {}, 2)[OVERALL]["normalized_entropy"] == pytest.approx([expected] * 2, rel=1e-12)
    assert streamed(library.NormalizedEntropy(), rows) == pytest.approx(expected, rel=1e-6)


def test_calibration(rows):
    expected = library.calibration_ratio(rows.labels, rows.probabilities)
    assert evaluator.CalibrationRatio.compute(rows.rows()) == pytest.approx(expected, rel=1e-12)
    assert bootstrap_intervals(rows, {}, 2)[OVERALL]["calibration"] == pytest.approx([expected] * 2, rel=1e-12)
    assert streamed(library.CalibrationRatio(), rows) == pytest.approx(expected, rel=1e-6)


def test_gauc(rows):
    expected = library.grouped_auc(rows.users, rows.labels, rows.probabilities)
    assert evaluator.GAUC.compute(rows.rows()) == pytest.approx(expected.impression_weighted, rel=1e-12)
    assert evaluator.GAUCEqual.compute(rows.rows()) == pytest.approx(expected.equal_weighted, rel=1e-12)
    drawn = resampled_metrics(rows.labels, rows.users, [rows.probabilities], resamples=2)["gauc"]
    assert drawn.ravel() == pytest.approx([expected.impression_weighted] * 2, rel=1e-12)


def test_by_request(rows):
    expected = library.request_ranking(rows.requests, rows.labels, rows.probabilities, at_k=(1, 3))
    by_name = {f"hr@{k}": value for k, value in expected.hit_rate.items()}
    by_name |= {f"ndcg@{k}": value for k, value in expected.ndcg.items()}
    by_name |= {"mrr": expected.mrr, "request_auc": expected.auc}
    drawn = resampled_metrics(
        rows.labels, rows.users, [rows.probabilities], requests=rows.requests, at_k=(1, 3), resamples=2
    )
    bounds = bootstrap_intervals(rows, {}, 2, at_k=(1, 3))[OVERALL]
    for name, value in by_name.items():
        assert evaluator.named(name).value(rows.rows()) == pytest.approx(value, rel=1e-12), name
        assert drawn[name].ravel() == pytest.approx([value] * 2, rel=1e-12), name
        assert bounds[name] == pytest.approx([value] * 2, rel=1e-12), name
    assert evaluator.RequestCount.compute(rows.rows()) == expected.requests
    assert evaluator.SkippedRequests.compute(rows.rows()) == expected.without_positive / expected.requests
