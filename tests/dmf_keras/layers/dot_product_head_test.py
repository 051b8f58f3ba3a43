from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest
from keras import ops

from dmf_keras.layers import DotProductHead
from dmf_keras.testing import check_layer
from tests.dmf_keras.gradients import gradients

to_numpy = keras.ops.convert_to_numpy


def _inputs(users=3):
    rng = np.random.default_rng(0)
    user, item = rng.normal(size=(2, users)), rng.normal(size=(2, 5, 4))
    return {"user": user.astype(np.float32), "item": item.astype(np.float32)}


def _layer(outputs=1, hidden_units=(6,), users=3):
    layer = DotProductHead(8, hidden_units, 0.2, outputs=outputs)
    layer.build((None, users), (None, None, 4))
    rng = np.random.default_rng(1)
    for weight in layer.weights:
        if weight.name != "log_scale":
            weight.assign(rng.normal(size=weight.shape))
    return layer


def _tower(layers, inputs):
    dense = [layer for layer in layers if isinstance(layer, keras.layers.Dense)]
    for place, layer in enumerate(dense):
        kernel, bias = (to_numpy(weight) for weight in layer.weights)
        inputs = inputs @ kernel + bias
        inputs = inputs if place == len(dense) - 1 else inputs / (1 + np.exp(-inputs))
    return inputs


@pytest.mark.parametrize("hidden_units", [(), (6,), (7, 6)])
@pytest.mark.parametrize("outputs", [1, 3])
def test_equals_the_definition(outputs, hidden_units):
    layer, x = _layer(outputs, hidden_units), _inputs()
    users = _tower(layer.users, x["user"]).reshape(2, outputs, 8)
    items = _tower(layer.items, x["item"])
    users = users / np.linalg.norm(users, axis=-1, keepdims=True) / 0.2
    items = items / np.linalg.norm(items, axis=-1, keepdims=True)
    expected = np.einsum("btd,bnd->bnt", users, items) + to_numpy(layer.bias)
    found = to_numpy(layer(**x))
    np.testing.assert_allclose(found, expected[..., 0] if outputs == 1 else expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(to_numpy(layer.encode_item(x["item"])), items, atol=1e-5)
    np.testing.assert_allclose(to_numpy(layer.encode_user(x["user"])), users.reshape(2, -1), rtol=1e-4, atol=1e-4)


def test_of_users_without_features_all_are_the_same():
    layer, x = _layer(users=0), _inputs(users=0)
    found = to_numpy(layer.encode_user(x["user"]))
    assert found.shape == (2, 8) and found.any()
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


def test_items_of_zeros_have_finite_gradients():
    layer = DotProductHead(8, (6,))
    x = {"user": np.zeros((2, 3), np.float32), "item": np.zeros((2, 5, 4), np.float32)}
    layer(**x)
    found = gradients(lambda user, item: ops.sum(layer(user, item) ** 2), x)
    assert all(np.isfinite(each).all() for each in found.values())


def test_units_are_dropped_in_training_alone():
    layer = DotProductHead(8, (64,), dropout=0.5)
    x = _inputs()
    still = to_numpy(layer(**x))
    np.testing.assert_array_equal(to_numpy(layer(**x)), still)
    assert np.abs(to_numpy(layer(**x, training=True)) - still).max() > 1e-3


@pytest.mark.parametrize("outputs", [1, 2])
def test_layer_checks(tmp_path, outputs):
    make = partial(DotProductHead, 8, (6,), outputs=outputs, kernel_initializer=keras.initializers.HeNormal(seed=1))
    check_layer(make, _inputs(), lambda layer, x: layer(**x), tmp_path)


@pytest.mark.parametrize(("changed", "message"), [
    ({"user": np.zeros((2, 4), np.float32)}, r"`user` must have 3 in dimension 1.*\(2, 4\)"),
    ({"item": np.zeros((2, 5, 3), np.float32)}, r"`item` must have 4 in dimension 2.*\(2, 5, 3\)"),
    ({"item": np.zeros((2, 4), np.float32)}, "`item` must have"),
    ({"pair": np.zeros((2, 5, 3), np.float32)}, r"`pair` must be None. Received: \(2, 5, 3\)"),
])  # fmt: skip
def test_refuses_inputs(changed, message):
    with pytest.raises(ValueError, match=message):
        _layer()(**{**_inputs(), **changed})


@pytest.mark.parametrize("arguments", [{"dim": 0}, {"dim": 4, "temperature": 0.0}, {"dim": 4, "outputs": 0}])
def test_refuses_arguments(arguments):
    with pytest.raises(ValueError, match="Received: 0"):
        DotProductHead(**arguments)


def test_has_no_pair_part():
    with pytest.raises(ValueError, match="no pair part"):
        DotProductHead(4).build((None, 3), (None, None, 4), (None, None, 2))
