from __future__ import annotations

import keras
import numpy as np
import pytest

from dmf_keras.layers import IdEmbedding
from dmf_keras.testing import check_layer

to_numpy = keras.ops.convert_to_numpy
IDS = np.array([[5, 7, 0], [7, 7, 9]], np.int32)


def test_equals_numpy_and_keras():
    layer, theirs = IdEmbedding(10, 4), keras.layers.Embedding(10, 4)
    found = to_numpy(layer(IDS))
    np.testing.assert_array_equal(found, to_numpy(layer.embeddings)[IDS])
    theirs.build()
    theirs.set_weights(layer.get_weights())
    np.testing.assert_array_equal(found, to_numpy(theirs(IDS)))


def test_layer_checks(tmp_path):
    check_layer(lambda **kw: IdEmbedding(10, 4, **kw), {"ids": IDS}, lambda made, x: made(x["ids"]), tmp_path)


def test_empty():
    assert to_numpy(IdEmbedding(10, 4)(np.zeros((2, 0), np.int32))).shape == (2, 0, 4)


@pytest.mark.parametrize("name", ["input_dim", "output_dim"])
def test_refuses(name):
    with pytest.raises(ValueError, match=name):
        IdEmbedding(**{"input_dim": 3, "output_dim": 3, name: 0})
