from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest
from keras import ops

from dmf_keras.layers import AttentionPooling
from dmf_keras.testing import check_layer
from tests.dmf_keras.gradients import gradients

to_numpy = keras.ops.convert_to_numpy


def _inputs():
    rng = np.random.default_rng(0)
    mask = np.array([[True] * 6, [True, True, False, True, False, False], [False] * 6])
    return {"history": rng.normal(size=(3, 6, 4)).astype(np.float32), "history_mask": mask}


def _layer(positions=3, seed=1):
    layer = AttentionPooling(5, positions)
    layer.build((None, None, 4))
    rng = np.random.default_rng(seed)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer


def _by_numpy(layer, history, history_mask):
    kernel, bias = (to_numpy(weight) for weight in layer.dense.weights)
    vector, recency = to_numpy(layer.vector), to_numpy(layer.recency)
    pooled = np.zeros((len(history), history.shape[2]))
    for row, (items, mask) in enumerate(zip(history, history_mask, strict=True)):
        real = items[mask]
        if not len(real):
            continue
        logits = np.tanh(real @ kernel + bias) @ vector
        logits += [recency[min(len(real) - 1 - place, len(recency) - 1)] for place in range(len(real))]
        weights = np.exp(logits - logits.max())
        pooled[row] = weights / weights.sum() @ real
    return pooled


@pytest.mark.parametrize("positions", [1, 3, 20])
def test_equals_the_definition(positions):
    layer, x = _layer(positions), _inputs()
    np.testing.assert_allclose(to_numpy(layer(**x)), _by_numpy(layer, **x), atol=1e-5)


def test_starts_without_an_order():
    layer, x = AttentionPooling(5, 3), _inputs()
    found = to_numpy(layer(**x))
    assert not found[2].any()
    np.testing.assert_allclose(to_numpy(layer(x["history"][:1, ::-1], x["history_mask"][:1])), found[:1], atol=1e-6)


def test_padding_may_lie_anywhere_and_hold_anything():
    layer, x = _layer(), _inputs()
    expected = to_numpy(layer(**x))
    history = np.where(x["history_mask"][..., None], x["history"], np.float32(np.nan))
    np.testing.assert_array_equal(to_numpy(layer(history, x["history_mask"])), expected)
    padded = np.pad(history, [(0, 0), (2, 1), (0, 0)], constant_values=np.nan)
    mask = np.pad(x["history_mask"], [(0, 0), (2, 1)])
    np.testing.assert_allclose(to_numpy(layer(padded, mask)), expected, atol=1e-6)
    found = gradients(lambda h: ops.sum(layer(h, x["history_mask"]) ** 2), {"h": history})["h"]
    assert np.isfinite(found).all() and not found[~x["history_mask"]].any()


def test_layer_checks(tmp_path):
    make = partial(AttentionPooling, 5, 3, keras.initializers.HeNormal(seed=1))
    check_layer(make, _inputs(), lambda layer, x: layer(**x), tmp_path)


@pytest.mark.parametrize(("changed", "message"), [
    ({"history": np.zeros((3, 6, 5), np.float32)}, r"`history` must have 4 in dimension 2.*\(3, 6, 5\)"),
    ({"history_mask": np.ones((3, 6), np.float32)}, "`history_mask` must be of dtype bool. Received: dtype float32"),
    ({"history_mask": np.ones((3, 5), bool)}, r"`history_mask` must have 6 in dimension 1"),
])  # fmt: skip
def test_refuses_inputs(changed, message):
    with pytest.raises(ValueError, match=message):
        _layer()(**{**_inputs(), **changed})


@pytest.mark.parametrize("arguments", [(0, 1), (1, 0)])
def test_refuses_arguments(arguments):
    with pytest.raises(ValueError, match="Received: 0"):
        AttentionPooling(*arguments)
