from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest

from dmf_keras.layers import CrossNetwork
from dmf_keras.testing import check_layer
from tests.dmf_keras.models.by_numpy import to_numpy


def _inputs(width=6):
    return {"inputs": np.random.default_rng(0).normal(size=(3, 4, width)).astype(np.float32)}


@pytest.mark.parametrize("layers", [1, 3])
def test_equals_the_definition(layers):
    layer, x = CrossNetwork(layers), _inputs()["inputs"]
    layer.build(x.shape)
    rng = np.random.default_rng(1)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    expected = x.astype(float)
    for kernel, bias in zip(layer.kernels, layer.biases, strict=True):
        expected = x * (expected @ to_numpy(kernel)) + to_numpy(bias) + expected
    np.testing.assert_allclose(to_numpy(layer(x)), expected, rtol=1e-4, atol=1e-4)


def test_layer_checks(tmp_path):
    make = partial(CrossNetwork, 2, keras.initializers.HeNormal(seed=1))
    check_layer(make, _inputs(), lambda layer, x: layer(**x), tmp_path)


def test_refuses():
    with pytest.raises(ValueError, match="Received: 0"):
        CrossNetwork(0)
    layer = CrossNetwork()
    layer.build((None, 6))
    with pytest.raises(ValueError, match=r"`inputs` must have 6 in dimension 2.*\(3, 4, 5\)"):
        layer(**_inputs(5))
