"""Calibration on logits whose labels were drawn with a known distortion of them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from dmf_keras.metrics import calibration_ratio
from tests.dmf_keras.models.batches import requests, small_model
from tfx_pipeline.errors import ModelError
from tfx_pipeline.training.calibration import calibrate

SLOPE, OFFSET = 2.0, -1.5


@pytest.fixture
def model() -> Any:
    model = small_model(name="mean_pooling")
    # New embeddings are almost zero, and so are their logits.
    rng = np.random.default_rng(1)
    model.item_embedding.embeddings.assign(rng.normal(size=model.item_embedding.embeddings.shape) * 3)
    return model


def _batches(model: Any, slope: float = SLOPE, count: int = 6) -> list[Any]:
    rng = np.random.default_rng(2)
    batches = []
    for number in range(count):
        x = requests(200, 6 + number % 2, 4, seed=number)
        x["candidate_index"][:, 5:] = 0
        logits = keras.ops.convert_to_numpy(model(x))
        labels = (rng.random(logits.shape) < 1 / (1 + np.exp(-(slope * logits + OFFSET)))).astype(np.float32)
        # What stands at padding must not count.
        labels[:, 5:] = 1
        weights = (x["candidate_index"] > 0).astype(np.float32)
        batches.append((x, tf.constant(labels), tf.constant(weights)))
    return batches


def test_without_a_method_nothing_changes(model) -> None:
    before = model.get_config()
    assert calibrate(model, _batches(model), "none") is None
    assert model.calibration is None
    assert model.get_config() == before


def test_platt_finds_slope_and_offset(model) -> None:
    result = calibrate(model, _batches(model), "platt")
    assert result is not None
    assert result.points == 2
    x, y = (keras.ops.convert_to_numpy(points) for points in (model.calibration.x, model.calibration.y))
    slope = (y[1] - y[0]) / (x[1] - x[0])
    assert slope == pytest.approx(SLOPE, rel=0.1)
    assert y[0] - slope * x[0] == pytest.approx(OFFSET, abs=0.15)
    assert abs(result.calibration_before - 1) > 0.2
    assert result.calibration_after == pytest.approx(1, abs=1e-3)
    assert result.log_loss_after < result.log_loss_before


def test_isotonic_is_calibrated_in_every_part_and_keeps_the_order(model) -> None:
    result = calibrate(model, _batches(model), "isotonic")
    assert result is not None
    assert 2 < result.points <= 200
    assert result.calibration_after == pytest.approx(1, abs=0.02)
    fresh = _batches(model, count=8)
    logits = np.concatenate([keras.ops.convert_to_numpy(model(x))[weights.numpy() > 0] for x, _, weights in fresh])
    labels = np.concatenate([labels.numpy()[weights.numpy() > 0] for _, labels, weights in fresh])
    found = keras.ops.convert_to_numpy(model.probabilities(logits))
    order = np.argsort(logits)
    # Up to the rounding of float32 at the points of the line.
    assert (np.diff(found[order].astype(np.float64)) >= -1e-6).all()
    # Thousands of logits on few steps: most are still told apart, as the candidates of a request are.
    assert len(np.unique(found)) > 0.8 * len(np.unique(logits))
    for part in np.array_split(order, 3):
        assert calibration_ratio(labels[part], found[part]) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_a_calibrated_model_is_saved_with_it(method, model, tmp_path) -> None:
    calibrate(model, _batches(model), method)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    logits = np.linspace(-5, 5, 31, dtype=np.float32)
    found, expected = (keras.ops.convert_to_numpy(one.probabilities(logits)) for one in (loaded, model))
    np.testing.assert_array_equal(found, expected)
    assert not np.allclose(expected, 1 / (1 + np.exp(-logits)), atol=0.05)


def test_scores_that_fall_with_the_labels_are_refused(model) -> None:
    with pytest.raises(ModelError, match=r"clicks fall with the score \(slope -.*set calibration: none"):
        calibrate(model, _batches(model, slope=-2.0), "platt")


def test_scores_that_are_all_equal_are_refused(model) -> None:
    for weight in model.trainable_weights:
        weight.assign(keras.ops.zeros_like(weight))
    with pytest.raises(ModelError, match="all scores of eval are equal"):
        calibrate(model, _batches(model), "isotonic")
