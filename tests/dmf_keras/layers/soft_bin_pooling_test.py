from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest

from dmf_keras.layers import SoftBinPooling
from dmf_keras.testing import check_layer

to_numpy = keras.ops.convert_to_numpy


def inputs(batch=3, candidates=4, history=6):
    rng = np.random.default_rng(0)
    mask = rng.random((batch, candidates, history)) < 0.6
    mask[0] = False
    return {"values": rng.uniform(-1, 1, mask.shape).astype(np.float32), "pair_mask": mask}


def by_definition(layer, values, pair_mask):
    """AutoDis pair by pair: a hidden layer, a square matrix with a skip, a softmax, a sum of embeddings."""
    scale, kernel, embeddings = (to_numpy(weight).astype(np.float64) for weight in layer.trainable_weights)
    pooled = np.zeros((*values.shape[:2], 2 * layer.dim))
    for b, n in np.ndindex(values.shape[:2]):
        found = []
        for value in values[b, n, pair_mask[b, n]]:
            h = scale[0] * value
            h = np.where(h > 0, h, 0.2 * h)
            z = (h @ kernel + layer.skip * h) / layer.temperature
            p = np.exp(z - z.max())
            found.append(p / p.sum() @ embeddings)
        if found:
            pooled[b, n] = np.concatenate([np.mean(found, axis=0), np.max(found, axis=0)])
    return pooled


@pytest.mark.parametrize("bins", [5, 1])
def test_equals_the_definition(bins):
    layer, x = SoftBinPooling(bins, 3, skip=0.3, temperature=0.2), inputs()
    found = to_numpy(layer(**x))
    assert layer.width == found.shape[-1] == 6
    np.testing.assert_allclose(found, by_definition(layer, **x), atol=1e-5)
    assert not found[0].any(), "where nothing counts there are zeros"


def test_padding_and_order_change_nothing_and_what_is_masked_may_be_anything():
    layer, x = SoftBinPooling(5, 3), inputs()
    before = to_numpy(layer(**x))
    x["values"][~x["pair_mask"]] = np.nan
    np.testing.assert_allclose(to_numpy(layer(**x)), before, atol=1e-6)
    order = np.random.default_rng(3).permutation(6)
    padded = {
        name: np.pad(x[name][..., order], ((0, 0), (0, 0), (0, 3)), constant_values=value)
        for name, value in (("values", np.inf), ("pair_mask", False))
    }
    np.testing.assert_allclose(to_numpy(layer(**padded)), before, atol=1e-6)


@pytest.mark.parametrize(("candidates", "history"), [(1, 1), (2000, 1), (1, 1000), (3, 0)])
def test_extreme_sizes(candidates, history):
    found = to_numpy(SoftBinPooling()(**inputs(2, candidates, history)))
    assert found.shape == (2, candidates, 16) and np.isfinite(found).all()


def test_layer_checks(tmp_path):
    # Of unlike sizes, as the layer's axes move.
    check_layer(partial(SoftBinPooling, 5, 3), inputs(2, 7, 4), lambda layer, x: layer(**x), tmp_path)


def test_refuses():
    with pytest.raises(ValueError, match=r"`temperature` must be above 0. Received: 0"):
        SoftBinPooling(temperature=0)
    with pytest.raises(ValueError, match=r"`bins` must be an integer"):
        SoftBinPooling(0)
    with pytest.raises(ValueError, match=r"`pair_mask` must be of dtype bool"):
        SoftBinPooling()(**{**inputs(), "pair_mask": np.ones((3, 4, 6), np.int32)})
    with pytest.raises(ValueError, match=r"`values` must have shape"):
        SoftBinPooling()(np.zeros((3, 4), np.float32), inputs()["pair_mask"])
