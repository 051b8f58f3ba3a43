"""Intervals of a run's metrics: around their values, and about as wide as chance makes them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tfx_pipeline.evaluation import metrics
from tfx_pipeline.evaluation.candidate_table import CandidateTable
from tfx_pipeline.pages.run.scores import OVERALL, bootstrap_intervals, click_share_intervals


def table(users: int, per_user: int, seed: int) -> CandidateTable:
    """Calibrated scores: a label is drawn with its score as probability."""
    rng = np.random.default_rng(seed)
    rows = users * per_user
    scores = rng.beta(1, 4, rows).astype(np.float32)
    counts = np.zeros(rows, np.int64)
    return CandidateTable(
        labels=rng.random(rows) < scores,
        probabilities=scores,
        users=np.repeat(np.arange(users, dtype=np.uint64), per_user),
        requests=np.arange(rows, dtype=np.int32) // 4,
        train_impressions=counts,
        history_lengths=counts,
        has_content=counts.astype(bool),
    )


def test_interval_holds_the_value_of_each_metric():
    rows = table(300, 8, 0)
    found = bootstrap_intervals(rows, {}, resamples=300)[OVERALL]
    for metric in (
        metrics.CandidateAUC,
        metrics.GAUC,
        metrics.LogLoss,
        metrics.NormalizedEntropy,
        metrics.CalibrationRatio,
    ):
        low, high = found[metric.metric_name]
        assert low < metric.compute(rows.rows()) < high, metric.metric_name


@pytest.mark.parametrize("metric", ["normalized_entropy", "calibration"])
def test_four_times_the_users_halve_the_interval(metric):
    widths = []
    for users in (400, 1600):
        low, high = bootstrap_intervals(table(users, 5, users), {}, resamples=400)[OVERALL][metric]
        widths.append(high - low)
    assert 1.6 < widths[0] / widths[1] < 2.5


def test_calibrated_scores_are_mostly_found_to_be():
    intervals = [bootstrap_intervals(table(200, 4, seed), {}, 200)[OVERALL]["calibration"] for seed in range(40)]
    assert sum(low <= 1 <= high for low, high in intervals) >= 34


def test_each_slice_has_its_own():
    rows = table(300, 8, 1)
    half = pd.Categorical.from_codes((np.arange(len(rows.labels)) % 2).astype(np.int8), ["even", "odd"])
    found = bootstrap_intervals(rows, {"side": half}, resamples=200)
    assert set(found) == {OVERALL, ("side", "even"), ("side", "odd")}
    width = {key: ends["auc"][1] - ends["auc"][0] for key, ends in found.items()}
    assert width["side", "even"] > width[OVERALL]


def test_bucket_without_rows_or_with_one_class_has_none():
    rows = table(50, 4, 2)
    side = pd.Categorical.from_codes(np.where(rows.labels, 0, 1), ["clicked", "not", "nobody"])
    found = bootstrap_intervals(rows, {"side": side}, resamples=100)
    assert ("side", "nobody") not in found
    assert "auc" not in found["side", "clicked"]


def test_click_shares_are_as_sure_as_there_are_users():
    """Eight rows of one user that always agree are worth one row."""
    rng = np.random.default_rng(0)
    clicks = rng.random(400) < 0.3
    groups = np.arange(400) % 2
    alone = click_share_intervals(clicks, np.arange(400), groups)
    repeated = click_share_intervals(np.repeat(clicks, 8), np.repeat(np.arange(400), 8), np.repeat(groups, 8))
    assert repeated == alone
    for group, (low, high) in enumerate(alone):
        share = clicks[groups == group].mean()
        assert low < share < high
        assert high - low == pytest.approx(2 * 1.96 * np.sqrt(share * (1 - share) / 200), rel=0.2)


def test_a_group_of_one_user_has_no_interval():
    groups = np.r_[np.zeros(20, int), 1]
    assert click_share_intervals(np.arange(21) % 3 == 0, np.arange(21), groups, resamples=100)[1] is None
