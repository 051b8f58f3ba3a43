from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest
from keras import ops

from dmf_keras.layers import ContentProjection
from dmf_keras.testing import check_layer
from tests.dmf_keras.gradients import gradients

to_numpy = keras.ops.convert_to_numpy


def _inputs():
    rng = np.random.default_rng(0)
    return {"vectors": rng.normal(size=(3, 4, 6)).astype(np.float32), "present": rng.random((3, 4)) < 0.6}


def _layer():
    layer = ContentProjection(5)
    layer.build((None, None, 6))
    layer.dense.bias.assign(np.arange(1, 6))
    return layer


def test_equals_the_definition_and_is_zeros_without_content():
    layer, x = _layer(), _inputs()
    assert x["present"].any() and not x["present"].all()
    expected = x["vectors"] @ to_numpy(layer.dense.kernel) + np.arange(1, 6)
    np.testing.assert_allclose(to_numpy(layer(**x)), np.where(x["present"][..., None], expected, 0), atol=1e-6)


@pytest.mark.parametrize("filler", [np.nan, np.inf])
def test_vectors_that_are_missing_are_not_looked_at(filler):
    layer, x = _layer(), _inputs()
    filled = np.where(x["present"][..., None], x["vectors"], np.float32(filler))
    np.testing.assert_array_equal(to_numpy(layer(filled, x["present"])), to_numpy(layer(**x)))
    found = gradients(lambda vectors: ops.sum(layer(vectors, x["present"]) ** 2), {"vectors": filled})["vectors"]
    assert np.isfinite(found).all() and not found[~x["present"]].any()


def test_of_nothing():
    assert tuple(_layer()(np.zeros((2, 0, 6), np.float32), np.zeros((2, 0), bool)).shape) == (2, 0, 5)


def test_layer_checks(tmp_path):
    make = partial(ContentProjection, 5, keras.initializers.HeNormal(seed=1))
    check_layer(make, _inputs(), lambda layer, x: layer(**x), tmp_path)


@pytest.mark.parametrize(("changed", "message"), [
    ({"vectors": np.zeros((3, 4, 5), np.float32)}, r"`vectors` must have 6 in dimension 2.*\(3, 4, 5\)"),
    ({"present": np.ones((3, 4), np.float32)}, "`present` must be of dtype bool. Received: dtype float32"),
    ({"present": np.ones(3, bool)}, r"without the last. Received: shapes \(3,\) and \(3, 4, 6\)"),
])  # fmt: skip
def test_refuses_inputs(changed, message):
    with pytest.raises(ValueError, match=message):
        _layer()(**{**_inputs(), **changed})


def test_refuses_arguments():
    with pytest.raises(ValueError, match="Received: 0"):
        ContentProjection(0)
