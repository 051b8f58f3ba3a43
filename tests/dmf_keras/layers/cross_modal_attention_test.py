from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest

from dmf_keras.layers import CrossModalAttention
from dmf_keras.testing import check_layer
from tests.dmf_keras.layers.streams_by_numpy import cross_modal
from tests.dmf_keras.models.by_numpy import to_numpy


def _inputs():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(3, 4, 6)).astype(np.float32) for name in ("vectors", "source")}


def _by_numpy(layer, vectors, source):
    return [
        [cross_modal(layer, *pair) for pair in zip(*rows, strict=True)] for rows in zip(vectors, source, strict=True)
    ]


@pytest.mark.parametrize("heads", [1, 2, 6])
def test_equals_the_definition(heads):
    layer, x = CrossModalAttention(heads, residual=0.7), _inputs()
    layer(**x)
    np.testing.assert_allclose(to_numpy(layer(**x)), _by_numpy(layer, **x), atol=1e-5)


def test_a_source_says_something_only_by_the_scale():
    layer, x = CrossModalAttention(2, residual=0.0), _inputs()
    np.testing.assert_array_equal(to_numpy(layer(**x)), x["vectors"])


def test_layer_checks(tmp_path):
    make = partial(CrossModalAttention, 2, 0.5, keras.initializers.HeNormal(seed=1))
    check_layer(make, _inputs(), lambda layer, x: layer(**x), tmp_path)


def test_refuses():
    with pytest.raises(ValueError, match="Received: 0"):
        CrossModalAttention(0)
    with pytest.raises(ValueError, match="multiple of 4 heads"):
        CrossModalAttention(4)(**_inputs())
    layer = CrossModalAttention(2)
    layer.build((None, 6), (None, 6))
    with pytest.raises(ValueError, match=r"`source` must have 6 in dimension 2.*\(3, 4, 5\)"):
        layer(_inputs()["vectors"], np.zeros((3, 4, 5), np.float32))
