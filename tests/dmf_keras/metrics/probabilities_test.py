"""Log loss, normalised entropy and calibration: metrics of probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from dmf_keras.metrics import calibration_ratio, log_loss, normalized_entropy, reliability

RNG = np.random.default_rng(0)
PROBABILITIES = RNG.random(2000)
LABELS = (RNG.random(2000) < PROBABILITIES**2).astype(int)


def test_log_loss_equals_scikit_learn():
    assert log_loss(LABELS, PROBABILITIES) == pytest.approx(sklearn_metrics.log_loss(LABELS, PROBABILITIES))


def test_certain_and_wrong_is_finite():
    assert log_loss([1, 0], [0.0, 1.0]) == pytest.approx(-np.log(1e-7))
    assert log_loss([1, 0], [0.0, 0.5]) == pytest.approx(8.4056, abs=1e-4)
    assert normalized_entropy([1, 0], [0.0, 0.5]) == pytest.approx(12.1267, abs=1e-4)
    assert log_loss([1, 0], [1.0, 0.0]) == pytest.approx(0, abs=1e-6)


def test_normalized_entropy_of_the_base_rate_is_one_and_of_knowledge_less():
    labels = [1, 0, 0, 0]
    assert normalized_entropy(labels, [0.25] * 4) == pytest.approx(1)
    assert normalized_entropy(labels, [0.7, 0.1, 0.1, 0.1]) < 0.5
    assert normalized_entropy(labels, [0.1, 0.9, 0.9, 0.9]) > 1
    assert np.isnan(normalized_entropy([1, 1], [0.5, 0.5]))
    assert np.isnan(normalized_entropy([], []))


def test_calibration_ratio():
    assert calibration_ratio([1, 0, 0, 1], [0.5, 0.5, 0.5, 0.5]) == pytest.approx(1)
    assert calibration_ratio([1, 0, 0, 0], [0.5, 0.5, 0.5, 0.5]) == pytest.approx(2)
    assert np.isnan(calibration_ratio([0, 0], [0.5, 0.5]))


def test_reliability_by_hand():
    result = reliability([1, 0, 1, 1], [0.05, 0.15, 0.95, 1.0], bins=10)
    np.testing.assert_array_equal(result.rows, [1, 1, 0, 0, 0, 0, 0, 0, 0, 2])
    np.testing.assert_allclose(result.mean_label[[0, 1, 9]], [1, 0, 1])
    np.testing.assert_allclose(result.mean_prediction[[0, 1, 9]], [0.05, 0.15, 0.975])
    assert np.isnan(result.mean_label[5])
    assert result.expected_error == pytest.approx((0.95 + 0.15 + 2 * 0.025) / 4)


@pytest.mark.parametrize("metric", [log_loss, normalized_entropy, calibration_ratio, reliability])
def test_refuse_what_is_no_probability(metric):
    with pytest.raises(ValueError, match=r"from 0 to 1. Received: 1.5 in row 1"):
        metric([0, 1], [0.5, 1.5])
