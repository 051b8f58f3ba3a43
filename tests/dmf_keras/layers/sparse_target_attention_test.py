from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest
from keras import ops

from dmf_keras.layers import SparseTargetAttention
from dmf_keras.testing import check_layer
from tests.dmf_keras.gradients import gradients
from tests.dmf_keras.layers.attention_inputs import inputs, to_numpy

DIM = 8


def _inputs(*sizes):
    return inputs("id_only", *sizes)


def _layer(**kwargs):
    layer = SparseTargetAttention(DIM, **kwargs)
    layer.build((None, None, 7), (None, None, 6))
    return layer


def test_equals_the_definition():
    """One pair at a time, W_o applied to the sum as the paper's code does."""
    layer, x = _layer(), _inputs()
    kernels = [to_numpy(dense.kernel) for dense in (layer.query, layer.key, layer.value, layer.output_projection)]
    interest, weights = layer(**x, return_weights=True)
    expected = np.zeros((3, 4, 6))
    for b, n, j in np.ndindex(expected.shape):
        logit = (x["candidates"][b, n] @ kernels[0]) @ (x["history"][b, j] @ kernels[1]) / np.sqrt(DIM)
        expected[b, n, j] = max(logit, 0) * x["history_mask"][b, j]
    assert ((expected == 0) & x["history_mask"][:, None]).any(), "some real items should have no weight"
    np.testing.assert_allclose(to_numpy(weights), expected, atol=1e-5)
    mixed = np.einsum("bnl,bla->bna", expected, x["history"] @ kernels[2]) @ kernels[3]
    np.testing.assert_allclose(to_numpy(interest), mixed, atol=1e-5)
    assert not to_numpy(interest)[-1].any(), "an empty history has no interest"


@pytest.mark.parametrize("filler", [np.nan, np.inf, 1e38])
def test_padding_is_not_looked_at(filler):
    layer, x = _layer(), _inputs()
    filled = x | {"history": np.where(x["history_mask"][..., None], x["history"], np.float32(filler))}
    np.testing.assert_allclose(to_numpy(layer(**filled)), to_numpy(layer(**x)), atol=1e-6)
    names = ("candidates", "history")
    both = [
        gradients(lambda **a: ops.sum(layer(**(x | a)) ** 2), {name: arrays[name] for name in names})
        for arrays in (filled, x)
    ]
    for name in names:
        np.testing.assert_allclose(both[0][name], both[1][name], atol=1e-4)
        assert np.abs(both[1][name]).max() > 1e-4


def test_order_padding_and_other_candidates_change_nothing():
    layer, x = _layer(), _inputs()
    expected = to_numpy(layer(**x))
    rng = np.random.default_rng(3)
    order, items = rng.permutation(4), rng.permutation(6)
    changed = {
        "candidates": np.pad(x["candidates"][:, order], ((0, 0), (0, 2), (0, 0))),
        "history": np.pad(x["history"][:, items], ((0, 0), (1, 2), (0, 0)), constant_values=9),
        "history_mask": np.pad(x["history_mask"][:, items], ((0, 0), (1, 2))),
    }
    np.testing.assert_allclose(to_numpy(layer(**changed))[:, :4], expected[:, order], atol=1e-5)


def test_parts_are_the_call():
    layer, x = _layer(), _inputs()
    keys, values = layer.encode_history(x["history"], x["history_mask"])
    part = layer.attend(x["candidates"][:, :2], keys, values, x["history_mask"])
    np.testing.assert_allclose(to_numpy(part), to_numpy(layer(**x))[:, :2], atol=1e-6)


@pytest.mark.parametrize(("batch", "candidates", "history"), [(2, 3, 0), (2, 0, 4), (0, 3, 4), (2, 2000, 1)])
def test_sizes(batch, candidates, history):
    whole = _inputs(2, max(candidates, 1), max(history, 1))
    x = {"candidates": whole["candidates"][:batch, :candidates]}
    x |= {name: whole[name][:batch, :history] for name in ("history", "history_mask")}
    interest = to_numpy(_layer()(**x))
    assert interest.shape == (batch, candidates, 6) and np.isfinite(interest).all()


def test_layer_checks(tmp_path):
    make = partial(SparseTargetAttention, DIM, keras.initializers.HeNormal(seed=1))
    check_layer(make, _inputs(), lambda layer, x: layer(**x), tmp_path)


@pytest.mark.parametrize(("changed", "message"), [
    ({"candidates": np.zeros((3, 4, 2), np.float32)}, r"`candidates` must have 7 in dimension 2.*\(3, 4, 2\)"),
    ({"history": np.zeros((3, 6, 2), np.float32)}, r"`history` must have 6 in dimension 2.*\(3, 6, 2\)"),
    ({"history_mask": np.ones((3, 5), bool)}, r"as the length of the history. Received: shape \(3, 5\)"),
    ({"history_mask": np.ones((3, 6), np.int32)}, "`history_mask` must be of dtype bool. Received: dtype int32"),
])  # fmt: skip
def test_refuses_inputs(changed, message):
    with pytest.raises(ValueError, match=message):
        _layer()(**{**_inputs(), **changed})


def test_refuses_arguments():
    with pytest.raises(ValueError, match="Received: 0"):
        SparseTargetAttention(0)
