from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest

from dmf_keras.layers import CrossModalAttention
from dmf_keras.testing import check_layer
from tests.dmf_keras.models.by_numpy import dense, softmax, to_numpy


def _inputs(*shape):
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(*(shape or (3, 4)), 6)).astype(np.float32) for name in ("vectors", "source")}


def _by_numpy(layer, vectors, source):
    """Row by row, from the weights alone."""
    result = np.empty_like(vectors, float)
    for place in np.ndindex(vectors.shape[:-1]):
        query, key, value = (
            dense(one, x[place]).reshape(layer.heads, -1)
            for one, x in ((layer.query, vectors), (layer.key, source), (layer.value, source))
        )
        weights = softmax((query * key).sum(-1) / np.sqrt(query.shape[-1]))
        taken = dense(layer.output_projection, (weights[:, None] * value).ravel())
        result[place] = vectors[place] + float(to_numpy(layer.scale)) * taken
    return result


@pytest.mark.parametrize("heads", [1, 2, 6])
@pytest.mark.parametrize("shape", [(5,), (3, 4)])
def test_equals_the_definition(heads, shape):
    layer, x = CrossModalAttention(heads, residual=0.7), _inputs(*shape)
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
