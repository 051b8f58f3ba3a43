"""The metrics' formulas on small rows, and the accumulator that collects the rows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss
from tensorflow_model_analysis.metrics import metric_types

from dmf_keras.metrics.formulas import LEAST_PROBABILITY
from tfx_pipeline.config.metrics import by_request
from tfx_pipeline.evaluation import metrics
from tfx_pipeline.evaluation.metrics import CandidateRows


def rows(labels, predictions, users=None, requests=None) -> CandidateRows:
    """Unless they are given, users are one, and requests their users."""
    users = np.zeros(len(labels)) if users is None else users
    return CandidateRows(
        np.array(labels, bool),
        np.array(predictions, np.float32),
        np.array(users, np.uint64),
        np.array(users if requests is None else requests, np.int32),
    )


METRICS = metrics.evaluated([1, 5])


def values(of: CandidateRows) -> dict[str, float]:
    return {metric.name: metric.value(of) for metric in METRICS}


# User 1: AUC 1 of 3 rows; user 2: AUC 0.5 by a tie, of 2 rows; user 3: one label class.
THREE_USERS = rows([1, 0, 0, 1, 0, 0], [0.9, 0.2, 0.3, 0.4, 0.4, 0.99], [1, 1, 1, 2, 2, 3])


def test_gauc_by_hand():
    found = values(THREE_USERS)
    assert found["gauc"] == pytest.approx((3 * 1 + 2 * 0.5) / 5)
    assert found["gauc_equal"] == pytest.approx((1 + 0.5) / 2)
    assert found["gauc_skipped_users"] == pytest.approx(1 / 3)
    assert found["auc"] == pytest.approx((3 + 2.5) / 8)  # 0.9 beats all but 0.99; 0.4 beats two and ties one


def test_requests_by_hand():
    found = values(THREE_USERS)
    # 0.9 of request 1 is first; in request 2 the positive ties with the one other; request 3 has none.
    assert found["hr@1"] == found["ndcg@1"] == pytest.approx((1 + 0.5) / 2)
    assert found["hr@5"] == 1
    assert found["ndcg@5"] == pytest.approx((1 + (1 + 1 / np.log2(3)) / 2) / 2)
    assert found["mrr"] == pytest.approx((1 + (1 + 1 / 2) / 2) / 2)
    assert found["request_auc"] == pytest.approx((1 + 0.5) / 2)
    assert (found["request_count"], found["skipped_requests"]) == (3, pytest.approx(1 / 3))
    assert found["request_auc_skipped_requests"] == pytest.approx(1 / 3)


def test_requests_are_not_users():
    found = values(rows([1, 0, 1, 0], [0.9, 0.8, 0.2, 0.3], [7, 7, 7, 7], [0, 0, 1, 1]))
    assert (found["request_count"], found["request_auc"], found["gauc"]) == (2, 0.5, 0.5)
    assert found["mrr"] == pytest.approx((1 + 1 / 2) / 2)


def test_calibration_counts_and_base_rate_by_hand():
    found = values(THREE_USERS)
    assert found["calibration"] == pytest.approx(3.19 / 2, rel=1e-6)
    assert found["example_count"] == 6
    assert found["base_rate"] == pytest.approx(1 / 3)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 255).map(lambda n: n / 256)), min_size=1, max_size=50))
def test_log_loss_equals_scikit_learn(pairs):
    labels, predictions = zip(*pairs, strict=True)
    found = metrics.LogLoss.compute(rows(labels, predictions))
    expected = log_loss(labels, np.array(predictions, np.float64), labels=[False, True])
    assert found == pytest.approx(expected, rel=1e-6)


def test_predicting_the_base_rate_has_normalized_entropy_one():
    assert metrics.NormalizedEntropy.compute(rows([1, 0, 0, 0], [0.25] * 4)) == pytest.approx(1, rel=1e-6)


def test_sure_and_wrong_costs_a_finite_loss():
    assert metrics.LogLoss.compute(rows([1, 0], [0.0, 1.0])) == pytest.approx(-np.log(LEAST_PROBABILITY), rel=1e-6)


@pytest.mark.parametrize("label", [0, 1])
def test_one_label_class_has_no_auc_but_is_no_error(label):
    found = values(rows([label] * 3, [0.1, 0.5, 0.9], [1, 1, 2]))
    missing = {name for name, value in found.items() if np.isnan(value)}
    of_positives = {"calibration", "hr@1", "hr@5", "ndcg@1", "ndcg@5", "mrr"}
    assert missing == {"auc", "gauc", "gauc_equal", "normalized_entropy", "request_auc"} | (
        set() if label else of_positives
    )
    assert found["gauc_skipped_users"] == found["request_auc_skipped_requests"] == 1
    assert found["skipped_requests"] == 1 - label


def test_nan_prediction_is_seen_by_every_metric_of_quality():
    found = values(rows([1, 0, 1, 0], [0.5, np.nan, 0.6, 0.1], [1, 1, 2, 2]))
    quality = ("auc", "gauc", "gauc_equal", "log_loss", "normalized_entropy", "calibration", *by_request([1, 5]))
    assert all(np.isnan(found[name]) for name in quality)


@given(st.integers(1, 40), st.lists(st.integers(0, 40), max_size=6), st.integers(0, 2**32 - 1))
def test_collected_in_any_parts_the_rows_are_the_same(total, cuts, seed):
    rng = np.random.default_rng(seed)
    edges = sorted({0, total, *(cut for cut in cuts if cut < total)})
    # A request is in one part, and its number counts from 0 in each, with gaps.
    parts = [np.sort(rng.integers(0, 9, high - low)) for low, high in itertools.pairwise(edges)]
    whole = rows(rng.random(total) < 0.5, rng.random(total), rng.integers(0, 4, total), np.concatenate(parts))
    key = metric_types.MetricKey("_candidate_rows")
    combine = metrics._CollectRows(key)
    accumulators = [
        combine.add_input(
            combine.create_accumulator(),
            CandidateRows(*(column[low:high] for column in vars(whole).values())),
        )
        for low, high in itertools.pairwise(edges)
    ]
    merged = combine.merge_accumulators([combine.compact(part) for part in accumulators] + [[]])
    collected = combine.extract_output(combine.compact(merged))[key]
    for field in ("labels", "predictions", "users"):
        np.testing.assert_array_equal(getattr(collected, field), getattr(whole, field))
        assert getattr(collected, field).dtype == getattr(whole, field).dtype
    assert collected.requests.dtype == np.int32
    numbers = {(number, request) for number, part in enumerate(parts) for request in part.tolist()}
    assert len(np.unique(collected.requests)) == len(numbers)
    same = [one == other for one, other in itertools.pairwise((n, r) for n, part in enumerate(parts) for r in part)]
    np.testing.assert_array_equal(np.diff(collected.requests) == 0, same)


def test_no_metric_takes_the_place_of_one_of_tfma():
    # TFMA looks a class name up among its own metrics first, whatever module the config names.
    assert not {type(metric).__name__ for metric in METRICS} & set(metric_types.registered_metrics())


def test_metrics_share_one_computation_of_rows_per_model():
    computations = [
        computation for metric in METRICS for computation in metric.computations(model_names=["candidate", "baseline"])
    ]
    assert len({c for c in computations if isinstance(c, metric_types.MetricComputation)}) == 2


def test_example_weights_are_refused():
    with pytest.raises(ValueError, match="example weights"):
        metrics.GAUC().computations(model_names=[""], example_weighted=True)
