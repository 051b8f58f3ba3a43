from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmf_keras.layers import Dice
from dmf_keras.testing import check_layer

to_numpy = keras.ops.convert_to_numpy


def _inputs(channels=4, seed=0):
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(3, 5, 7, channels)) * 3 + 2).astype(np.float32)
    return {"inputs": x, "mask": rng.random((3, 5, 7)) < 0.6}


def _reference(x, mean, variance, alpha, epsilon=1e-8):
    p = 1 / (1 + np.exp(-(x - mean) / np.sqrt(variance + epsilon)))
    return p * x + (1 - p) * alpha * x


def _filled(channels=4, seed=1, **kwargs):
    """A layer whose weights are those of no fresh one."""
    rng = np.random.default_rng(seed)
    layer = Dice(**kwargs)
    layer.build((None, channels))
    layer.alpha.assign(rng.normal(size=channels))
    layer.moving_mean.assign(rng.normal(size=channels))
    layer.moving_variance.assign(rng.random(channels) + 0.5)
    return layer


def _averages(layer):
    return to_numpy(layer.moving_mean), to_numpy(layer.moving_variance)


def test_inference_uses_the_moving_averages_and_moves_nothing():
    layer = _filled()
    before = _averages(layer)
    x = _inputs()["inputs"]
    np.testing.assert_allclose(to_numpy(layer(x)), _reference(x, *before, to_numpy(layer.alpha)), atol=1e-5)
    np.testing.assert_array_equal(_averages(layer), before)


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("masked", [False, True])
def test_training_uses_the_moments_of_real_positions(masked, channels):
    layer = _filled(channels, momentum=0.9)
    before = _averages(layer)
    x, mask = _inputs(channels).values()
    if not masked:
        mask = np.ones_like(mask)
    x[~mask] = 1e6
    real = x[mask].astype(np.float64)
    y = to_numpy(layer(x, mask=mask if masked else None, training=True))
    mean, variance = real.mean(0), real.var(0)
    np.testing.assert_allclose(y[mask], _reference(real, mean, variance, to_numpy(layer.alpha)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(_averages(layer)[0], 0.9 * before[0] + 0.1 * mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(_averages(layer)[1], 0.9 * before[1] + 0.1 * variance, rtol=1e-5, atol=1e-6)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 2), st.sampled_from([0, 4]), st.sampled_from([0.0, -50.0, np.nan]))
def test_padding_moves_nothing(seed, channels, padding, value):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(4, 3, channels)).astype(np.float32)
    padded = np.pad(x, ((0, 0), (0, padding), (0, 0)), constant_values=value)
    mask = np.arange(3 + padding) < 3
    plain, other = _filled(channels), _filled(channels)
    y = to_numpy(plain(x, training=True))
    padded_y = to_numpy(other(padded, mask=np.tile(mask, (4, 1)), training=True))
    np.testing.assert_allclose(padded_y[:, :3], y, atol=1e-5)
    np.testing.assert_allclose(_averages(other), _averages(plain), atol=1e-6)


def test_a_batch_of_padding_alone_is_finite_and_leaves_the_averages():
    layer = _filled()
    before = _averages(layer)
    x, mask = _inputs().values()
    assert np.isfinite(to_numpy(layer(x, mask=np.zeros_like(mask), training=True))).all()
    np.testing.assert_array_equal(_averages(layer), before)


def test_a_frozen_layer_stays_as_it_is_in_training():
    layer = _filled()
    layer.trainable = False
    before = _averages(layer)
    x = _inputs()["inputs"]
    np.testing.assert_array_equal(to_numpy(layer(x, training=True)), to_numpy(layer(x)))
    np.testing.assert_array_equal(_averages(layer), before)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_fit_trains_alpha_by_its_gradient_and_moves_the_averages(jit_compile):
    x, mask = _inputs().values()
    layer = Dice()
    inputs = {
        "inputs": keras.Input((None, None, 4), name="inputs"),
        "mask": keras.Input((None, None), dtype="bool", name="mask"),
    }
    model = keras.Model(inputs, layer(**inputs))
    assert [weight.path.rsplit("/", 1)[-1] for weight in model.trainable_weights] == ["alpha"]
    np.testing.assert_array_equal(to_numpy(layer.alpha), 0)
    target = np.random.default_rng(2).normal(size=x.shape).astype(np.float32) * mask[..., None]
    model.compile(keras.optimizers.SGD(1.0), loss=lambda y, z: keras.ops.sum(y * z), jit_compile=jit_compile)
    model.train_on_batch({"inputs": x, "mask": mask}, target)
    real = x[mask].astype(np.float64)
    p = 1 / (1 + np.exp(-(x - real.mean(0)) / real.std(0)))
    expected = (target * (1 - p) * x).reshape(-1, 4).sum(0)
    np.testing.assert_allclose(to_numpy(layer.alpha), -expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(_averages(layer)[0], 0.01 * real.mean(0), rtol=1e-4)
    np.testing.assert_allclose(_averages(layer)[1], 0.99 + 0.01 * real.var(0), rtol=1e-4)


def test_statistics_stay_float32_under_mixed_precision():
    x, mask = _inputs().values()
    x += 300  # in bfloat16 the spread would be lost
    exact, low = _filled(), _filled(dtype="mixed_bfloat16")
    exact(x, mask=mask, training=True)
    y = low(x, mask=mask, training=True)
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
    assert {str(weight.dtype) for weight in low.weights} == {"float32"}
    rounded = to_numpy(keras.ops.cast(keras.ops.cast(x, "bfloat16"), "float32"))[mask].astype(np.float64)
    np.testing.assert_allclose(_averages(low)[1] - 0.99 * _averages(_filled())[1], 0.01 * rounded.var(0), rtol=1e-3)


@pytest.mark.parametrize("with_mask", [False, True])
def test_layer_checks(with_mask, tmp_path):
    inputs = _inputs() if with_mask else {"inputs": _inputs()["inputs"]}
    check_layer(partial(Dice, momentum=0.9, epsilon=1e-6), inputs, lambda layer, x: layer(**x), tmp_path)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"momentum": 1.5}, "`momentum` must be a number from 0 to 1. Received: 1.5"),
    ({"epsilon": 0.0}, "`epsilon` must be a float above 0. Received: 0.0"),
    ({"epsilon": "small"}, "Received: 'small'"),
])  # fmt: skip
def test_refuses_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Dice(**arguments)


@pytest.mark.parametrize(("mask", "message"), [
    (np.ones((3, 5, 7)), "`mask` must be of dtype bool. Received: dtype float"),
    (np.ones((3, 5, 7, 4), bool), r"one axis less than `inputs`. Received: shape \(3, 5, 7, 4\)"),
    (np.ones((3, 5, 6), bool), r"`mask` must have 7 in dimension 2, as `inputs`. Received: shape \(3, 5, 6\)"),
])  # fmt: skip
def test_refuses_masks(mask, message):
    with pytest.raises(ValueError, match=message):
        Dice()(_inputs()["inputs"], mask=mask)
