from __future__ import annotations

import keras
import numpy as np
import pytest

from dmf_keras.layers import StatisticsGate
from dmf_keras.testing import check_layer

to_numpy = keras.ops.convert_to_numpy


def inputs(seed: int = 0):
    rng = np.random.default_rng(seed)
    one, other = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    statistics = rng.random((3, 4, 2)).astype(np.float32) * 5
    return {"statistics": statistics, "one": one, "other": other, "present": rng.random((3, 4)) < 0.7}


def made(**kwargs):
    layer = StatisticsGate(6, **kwargs)
    layer.build((None, None, 2))
    rng = np.random.default_rng(1)
    for weight in layer.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer


def test_equals_the_definition_and_where_there_is_no_other_it_is_the_one():
    layer, x = made(), inputs()
    w1, b1, w2, b2 = (to_numpy(weight) for weight in layer.trainable_weights)
    gate = 1 / (1 + np.exp(-(np.maximum(x["statistics"] @ w1 + b1, 0) @ w2 + b2)))
    expected = np.where(x["present"][..., None], gate * x["one"] + (1 - gate) * x["other"], x["one"])
    np.testing.assert_allclose(to_numpy(layer(**x)), expected, atol=1e-5)
    np.testing.assert_allclose(to_numpy(layer.gate(x["statistics"])), gate[..., 0], atol=1e-5)


def test_what_is_not_there_may_be_anything():
    layer, x = made(), inputs()
    before = to_numpy(layer(**x))
    x["other"][~x["present"]] = np.nan
    np.testing.assert_array_equal(to_numpy(layer(**x)), before)


def test_layer_checks(tmp_path):
    check_layer(made, inputs(), lambda layer, x: layer(**x), tmp_path)


def test_refuses():
    with pytest.raises(ValueError, match="Received: 0"):
        StatisticsGate(0)
    with pytest.raises(ValueError, match="`present` must be of dtype bool"):
        made()(**{**inputs(), "present": np.ones((3, 4), np.int32)})
    with pytest.raises(ValueError, match="`other` must have 5 in dimension -1"):
        made()(**{**inputs(), "other": np.zeros((3, 4, 6), np.float32)})
