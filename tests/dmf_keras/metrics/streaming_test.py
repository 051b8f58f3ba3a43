"""Metrics inside `fit` and `evaluate`, against the exact functions on all samples."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmf_keras.metrics import CalibrationRatio, NormalizedEntropy, calibration_ratio, normalized_entropy
from tests.dmf_keras.models.batches import requests, small_model

EXACT = {NormalizedEntropy: normalized_entropy, CalibrationRatio: calibration_ratio}
both = pytest.mark.parametrize("metric_class", EXACT)


@both
@pytest.mark.parametrize("from_logits", [False, True])
@settings(max_examples=10, deadline=None)
@given(st.lists(st.sampled_from([1, 4, 7]), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_equals_the_exact_function_over_all_batches(metric_class, from_logits, sizes, seed):
    rng = np.random.default_rng(seed)
    metric = metric_class(from_logits=from_logits)
    rows = []
    for size in sizes:
        logits = rng.normal(size=(size, 1)).astype(np.float32)
        labels = rng.integers(0, 2, (size, 1))
        weights = rng.integers(0, 4, (size, 1))  # 0: padding; k: the row k times
        predictions = logits if from_logits else 1 / (1 + np.exp(-logits))
        metric.update_state(labels, predictions, sample_weight=weights.astype(np.float32))
        rows.append(np.repeat(np.concatenate([labels, 1 / (1 + np.exp(-logits))], 1), weights[:, 0], axis=0))
    labels, probabilities = np.concatenate(rows).T
    expected = EXACT[metric_class](labels, probabilities)
    np.testing.assert_allclose(float(metric.result()), expected, rtol=1e-5)
    metric.reset_state()
    assert np.isnan(float(metric.result()))


@both
def test_samples_may_have_any_shape_and_weights_must_be_as_many(metric_class):
    labels, probabilities = np.array([1, 0, 0, 1]), np.array([0.6, 0.2, 0.4, 0.9], np.float32)
    expected = EXACT[metric_class](labels, probabilities)
    for shape in ((4,), (4, 1), (2, 2)):
        metric = metric_class()
        metric.update_state(labels.reshape(shape), probabilities.reshape(shape))
        assert float(metric.result()) == pytest.approx(expected, rel=1e-6)
    with pytest.raises(Exception, match="reshape"):
        metric_class().update_state(labels, probabilities, sample_weight=np.ones(2))


def test_certain_and_wrong_is_finite_from_probabilities_and_from_logits():
    labels = np.array([1.0, 0.0])
    for from_logits, predictions in ((False, [0.0, 1.0]), (True, [-80.0, 80.0])):
        metric = NormalizedEntropy(from_logits)
        metric.update_state(labels, np.array(predictions))
        assert 20 < float(metric.result()) < 120


@pytest.mark.parametrize("sure", [0.0, 1e-9, 1e-7, 1.1e-7, 1 - 1.2e-7, 1 - 6e-8, 1.0])
def test_nearly_certain_probabilities_count_as_in_the_exact_function(sure):
    labels, probabilities = np.array([0, 1, 1, 0]), np.array([sure, sure, 0.5, 0.5], np.float32)
    metric = NormalizedEntropy()
    metric.update_state(labels, probabilities)
    assert float(metric.result()) == pytest.approx(normalized_entropy(labels, probabilities), rel=1e-6)


@both
@pytest.mark.parametrize("label", [0, 1])
def test_one_class_alone(metric_class, label):
    labels, probabilities = np.full(3, label), np.array([0.1, 0.5, 0.3])
    metric = metric_class()
    metric.update_state(labels, probabilities)
    np.testing.assert_allclose(float(metric.result()), EXACT[metric_class](labels, probabilities), rtol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_long_epoch_does_not_stop_counting(jit_compile):
    """After 2**25 positives a float32 sum does not change when 1 is added; a hundred batches of one do here."""
    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Identity()(inputs))
    model.compile(loss="mse", weighted_metrics=[CalibrationRatio()], jit_compile=jit_compile)
    weights = np.ones(101, np.float32)
    weights[0] = 2**25
    probabilities, labels = np.full((101, 1), 1.0, np.float32), np.ones((101, 1), np.float32)
    probabilities[1:] = 0.5
    model.evaluate(probabilities, labels, sample_weight=weights, batch_size=1, verbose=0)
    metric = model.metrics[1].metrics[0]
    sums = keras.ops.convert_to_numpy(metric.sums).astype(float) - keras.ops.convert_to_numpy(metric.lost)
    np.testing.assert_array_equal(sums, [2**25 + 50, 2**25 + 100])


def test_inside_a_ranking_model_padded_candidates_weigh_nothing():
    model = small_model()
    # TensorFlow without XLA still has a graph; JAX without it would run operation by operation, for minutes.
    jit_compile = keras.backend.backend() == "jax"
    metrics = [NormalizedEntropy(from_logits=True), CalibrationRatio(from_logits=True)]
    model.compile(metrics=metrics, jit_compile=jit_compile)
    x = requests(10, 5, 6)
    x["candidate_index"][:, 3:] = 0
    y = np.random.default_rng(0).integers(0, 2, (10, 5)).astype(np.float32)
    logged = model.fit(x, y, batch_size=4, epochs=1, verbose=0).history
    assert np.isfinite(logged["normalized_entropy"]).all()
    result = model.evaluate(x, y, batch_size=4, verbose=0, return_dict=True)
    logits = keras.ops.convert_to_numpy(model(x))[:, :3].ravel().astype(float)
    labels, probabilities = y[:, :3].ravel(), 1 / (1 + np.exp(-logits))
    assert result["normalized_entropy"] == pytest.approx(normalized_entropy(labels, probabilities), rel=1e-5)
    assert result["calibration_ratio"] == pytest.approx(calibration_ratio(labels, probabilities), rel=1e-5)


@both
def test_is_saved_with_the_model(metric_class, tmp_path):
    metric = metric_class(from_logits=True, name="of_test")
    assert metric_class.from_config(metric.get_config()).get_config() == metric.get_config()
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True), metrics=[metric])
    x, y = np.random.default_rng(0).normal(size=(8, 2)), np.array([0, 1] * 4)
    expected = model.evaluate(x, y, verbose=0, return_dict=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.evaluate(x, y, verbose=0, return_dict=True) == pytest.approx(expected)
