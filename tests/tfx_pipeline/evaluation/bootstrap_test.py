"""The bootstrap over users against the plain way: rows of drawn users repeated, metrics by scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from dmf_keras.metrics import grouped_auc
from tfx_pipeline.evaluation import bootstrap
from tfx_pipeline.evaluation.bootstrap import interval, resampled_metrics


def world(rows: int, users: int, seed: int, decimals: int = 2) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Labels, users and the probabilities of two models; rounded, so that scores tie within and between users."""
    rng = np.random.default_rng(seed)
    labels = rng.random(rows) < 0.3
    models = [np.clip(0.3 * labels + rng.random(rows) * 0.7, 0.01, 0.99).round(decimals) for _ in range(2)]
    return labels, rng.integers(0, users, rows).astype(np.uint64) * 7919, models


def repeated(users: np.ndarray, resamples: int, seed: int):
    """The rows of each resample: users drawn by NumPy's generator, all rows of a user as often as the user."""
    names = np.unique(users)
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        drawn = names[rng.integers(0, len(names), len(names))]
        places = [np.flatnonzero(users == user) for user in drawn]
        copies = np.concatenate([np.full(len(place), copy) for copy, place in enumerate(places)])
        yield np.concatenate(places), copies


@pytest.mark.parametrize(("decimals", "share"), [(2, 0.3), (9, 0.3), (2, 0.7)])
def test_equals_repeating_the_rows_of_drawn_users(decimals, share):
    labels, users, models = world(120, 25, seed=1, decimals=decimals)
    # With more positives than negatives the sums run over the other class.
    labels = labels if share < 0.5 else ~labels
    found = resampled_metrics(labels, users, models, resamples=12, seed=4)
    for number, (rows, copies) in enumerate(repeated(users, 12, 4)):
        for model, scores in enumerate(models):
            assert found["auc"][model, number] == pytest.approx(roc_auc_score(labels[rows], scores[rows]), abs=1e-12)
            gauc = grouped_auc(copies, labels[rows], scores[rows]).impression_weighted
            assert found["gauc"][model, number] == pytest.approx(gauc, abs=1e-12)
            assert found["log_loss"][model, number] == pytest.approx(log_loss(labels[rows], scores[rows]), abs=1e-12)


def test_rows_of_a_slice_are_judged_on_draws_of_all_users():
    labels, users, models = world(150, 20, seed=2)
    part = np.random.default_rng(5).random(150) < 0.6
    found = resampled_metrics(labels, users, models, rows=part, resamples=8, seed=3)
    for number, (rows, _) in enumerate(repeated(users, 8, 3)):
        rows = rows[part[rows]]
        assert found["auc"][0, number] == pytest.approx(roc_auc_score(labels[rows], models[0][rows]), abs=1e-12)


def test_draws_are_made_a_few_at_a_time_with_the_same_result(monkeypatch):
    labels, users, models = world(90, 30, seed=3)
    at_once = resampled_metrics(labels, users, models, resamples=10)
    monkeypatch.setattr(bootstrap, "_DRAWS_AT_ONCE", 3)
    for name, values in resampled_metrics(labels, users, models, resamples=10).items():
        np.testing.assert_allclose(values, at_once[name], rtol=0, atol=1e-15, err_msg=name)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(2, 60), users=st.integers(1, 12))
def test_order_of_rows_and_monotone_scores_change_nothing(seed, rows, users):
    labels, who, models = world(rows, users, seed)
    plain = resampled_metrics(labels, who, models, resamples=5)
    order = np.random.default_rng(seed).permutation(rows)
    turned = resampled_metrics(labels[order], who[order], [model[order] for model in models], resamples=5)
    squared = resampled_metrics(labels, who, [model**2 for model in models], resamples=5)
    for name in bootstrap.RESAMPLED:
        np.testing.assert_allclose(turned[name], plain[name], atol=1e-12, err_msg=name)
    for name in ("auc", "gauc"):
        np.testing.assert_array_equal(squared[name], plain[name], err_msg=name)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(2, 40))
def test_scores_that_all_tie_are_a_coin(seed, rows):
    labels, who, _ = world(rows, 6, seed)
    found = resampled_metrics(labels, who, [np.full(rows, 0.25)], resamples=6)
    for name in ("auc", "gauc"):
        answered = found[name][np.isfinite(found[name])]
        np.testing.assert_array_equal(answered, 0.5)


def test_a_draw_of_one_class_has_no_auc_but_a_log_loss():
    labels, users = np.array([True, False, False]), np.array([1, 2, 2])
    found = resampled_metrics(labels, users, [np.array([0.9, 0.2, 0.1])], resamples=40)
    one_class = np.isnan(found["auc"][0])
    assert 5 < one_class.sum() < 35
    assert (found["auc"][0][~one_class] == 1).all()
    assert np.isnan(found["gauc"]).all()
    assert np.isfinite(found["log_loss"]).all()


def test_a_model_that_predicts_nan_has_no_auc():
    labels, users, models = world(50, 10, seed=6)
    models[1][7] = np.nan
    found = resampled_metrics(labels, users, models, resamples=5)
    assert np.isfinite(found["auc"][0]).all()
    assert np.isnan(found["auc"][1]).all()


def test_interval_is_the_middle_part():
    assert interval(np.arange(1001) / 1000) == pytest.approx((0.025, 0.975))
    assert interval(np.arange(1001) / 1000, confidence=0.5) == pytest.approx((0.25, 0.75))


@pytest.mark.parametrize(("missing", "answer"), [(0, True), (50, True), (51, False), (1000, False)])
def test_interval_wants_nearly_all_resamples_answered(missing, answer):
    samples = np.arange(1000.0)
    samples[:missing] = np.nan
    assert (interval(samples) is not None) == answer


def impressions(users: int, rng: np.random.Generator, most: int = 8) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Users of 1 to `most` impressions; the second model errs by user, so that a user's rows are not independent."""
    who = np.repeat(np.arange(users), rng.integers(1, most + 1, users))
    taste, error = rng.normal(size=users)[who], rng.normal(size=users)[who]
    signal = rng.normal(size=len(who)) + taste
    labels = rng.random(len(who)) < 1 / (1 + np.exp(1 - signal))
    models = [signal + 0.5 * rng.normal(size=len(who)), signal + error]
    return labels, who, [1 / (1 + np.exp(1 - model)) for model in models]


def test_intervals_cover_the_true_difference_as_often_as_they_say():
    """200 test splits of 150 users from one world, whose true difference comes from 100,000 users."""
    rng = np.random.default_rng(20250)
    labels, who, models = impressions(100_000, rng)
    truth = {
        "auc": np.subtract(*(roc_auc_score(labels, model) for model in models)),
        "log_loss": np.subtract(*(log_loss(labels, model) for model in models)),
    }
    assert truth["auc"] > 0.03
    covered = dict.fromkeys(truth, 0)
    splits = 200
    for split in range(splits):
        labels, who, models = impressions(150, rng)
        found = resampled_metrics(labels, who, models, resamples=150, seed=split)
        for name, true in truth.items():
            low, high = interval(found[name][0] - found[name][1])
            covered[name] += low <= true <= high
    # Two standard errors of 200 splits are 0.03; percentile intervals are a little narrow at 150 users.
    for name, count in covered.items():
        assert 0.89 <= count / splits <= 0.99, (name, count / splits)


def test_drawing_rows_instead_of_users_would_be_too_sure():
    labels, who, models = impressions(200, np.random.default_rng(1), most=40)
    by_user = resampled_metrics(labels, who, models, resamples=300)["auc"][1].std()
    by_row = resampled_metrics(labels, np.arange(len(who)), models, resamples=300)["auc"][1].std()
    assert by_user > 1.2 * by_row
