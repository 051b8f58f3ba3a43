from __future__ import annotations

import keras
import numpy as np
import pytest

from dmf_keras.layers import UnitProjection
from dmf_keras.testing import check_layer

to_numpy = keras.ops.convert_to_numpy


def made(**kwargs):
    layer = UnitProjection(4, **kwargs)
    layer.build((None, None, 6))
    layer.kernel.assign(np.random.default_rng(1).normal(size=(6, 4)))
    return layer


def vectors():
    return np.random.default_rng(0).normal(size=(3, 5, 6)).astype(np.float32)


def test_equals_the_definition_whatever_the_length():
    layer, x = made(), vectors()
    projected = x @ to_numpy(layer.kernel)
    expected = projected / np.linalg.norm(projected, axis=-1, keepdims=True)
    np.testing.assert_allclose(to_numpy(layer(x)), expected, atol=1e-6)
    np.testing.assert_allclose(to_numpy(layer(1000 * x)), expected, atol=1e-6)


def test_zeros_stay_zeros_in_value_and_in_gradient():
    layer, x = made(), vectors()
    x[0, 0] = 0
    found = to_numpy(layer(x))
    assert (found[0, 0] == 0).all() and (found[0, 1] != 0).any()


def test_it_begins_with_orthogonal_directions():
    layer = UnitProjection(4)
    layer.build((None, 6))
    kernel = to_numpy(layer.kernel)
    np.testing.assert_allclose(kernel.T @ kernel, np.eye(4), atol=1e-5)


def test_layer_checks(tmp_path):
    check_layer(made, {"vectors": vectors()}, lambda layer, x: layer(x["vectors"]), tmp_path)


def test_refuses():
    with pytest.raises(ValueError, match="Received: 0"):
        UnitProjection(0)
    with pytest.raises(ValueError, match="`vectors` must have 6 in dimension -1"):
        made()(np.zeros((2, 7), np.float32))
