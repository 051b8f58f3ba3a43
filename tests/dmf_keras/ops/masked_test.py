from __future__ import annotations

import keras
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dmf_keras.ops import masked_softmax
from dmf_keras.ops.masked import masked_mean
from tests.dmf_keras.gradients import gradients


def _reference(logits: np.ndarray, mask: np.ndarray) -> np.ndarray:
    weights = np.zeros_like(logits, dtype=np.float64)
    for index in np.ndindex(logits.shape[:-1]):
        kept = mask[index]
        if kept.any():
            exponents = np.exp(logits[index][kept] - logits[index][kept].max())
            weights[index][kept] = exponents / exponents.sum()
    return weights


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 9), st.floats(0.1, 100))
def test_equals_softmax_of_what_is_kept(seed, rows, length, scale):
    rng = np.random.default_rng(seed)
    logits = (rng.normal(size=(rows, length)) * scale).astype(np.float32)
    mask = rng.random((rows, length)) < 0.6
    weights = keras.ops.convert_to_numpy(masked_softmax(logits, mask))
    np.testing.assert_allclose(weights, _reference(logits, mask), atol=1e-6)
    assert (weights[~mask] == 0).all()


def test_empty_row_is_zero_in_value_and_gradient():
    logits, mask = np.array([[5.0, -3.0], [1.0, 2.0]], np.float32), np.array([[False, False], [True, True]])
    factors = np.array([[1.0, 7.0], [2.0, 3.0]], np.float32)
    gradient = gradients(
        lambda logits: keras.ops.sum(masked_softmax(logits, mask) * keras.ops.convert_to_tensor(factors)),
        {"logits": logits},
    )
    assert np.isfinite(gradient["logits"]).all()
    assert (gradient["logits"][0] == 0).all()
    assert (gradient["logits"][1] != 0).all()


def test_low_precision_is_computed_in_float32():
    logits = keras.ops.cast(np.array([[8.0, 8.03125, 0.0]]), "bfloat16")
    weights = masked_softmax(logits, np.array([[True, True, False]]))
    assert keras.backend.standardize_dtype(weights.dtype) == "float32"
    np.testing.assert_allclose(keras.ops.convert_to_numpy(weights).sum(), 1, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, (0, 1)]), st.floats(0, 1))
def test_mean_of_what_is_kept(seed, axis, share):
    rng = np.random.default_rng(seed)
    values, mask = rng.normal(size=(3, 4, 2)).astype(np.float32), rng.random((3, 4)) < share
    expected = np.ma.masked_array(values, np.repeat(~mask[..., None], 2, -1)).mean(axis=axis).filled(0)
    values[~mask] = np.nan
    np.testing.assert_allclose(keras.ops.convert_to_numpy(masked_mean(values, mask, axis)), expected, atol=1e-6)


def test_mean_of_nothing_is_zero_in_value_and_gradient():
    values, mask = np.ones((2, 3, 2), np.float32), np.array([[False] * 3, [True, True, False]])
    gradient = gradients(lambda values: keras.ops.sum(masked_mean(values, mask, 1)), {"values": values})["values"]
    np.testing.assert_allclose(gradient[..., 0], [[0, 0, 0], [0.5, 0.5, 0]])


def test_mean_of_low_precision_is_summed_in_float32():
    values = keras.ops.cast(np.ones((1, 1000, 1)), "bfloat16")
    mean = masked_mean(values, np.ones((1, 1000), bool), 1)
    assert keras.backend.standardize_dtype(mean.dtype) == "float32"
    assert float(mean[0, 0]) == 1
