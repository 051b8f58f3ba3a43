"""What every layer that takes a mask makes of padding that is not finite: nothing, in value and in gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from dmf_keras.layers import Dice, LocalActivationUnit, SimilarityBuckets
from tests.dmf_keras.gradients import gradients
from tests.dmf_keras.layers.attention_inputs import KINDS, call, inputs, make, to_numpy

FILLERS = (np.nan, np.inf, 1e38)
fillers = pytest.mark.parametrize("filler", FILLERS)


def _filled(array: np.ndarray, mask: np.ndarray, filler: float) -> np.ndarray:
    return np.where(mask[..., None], array, np.float32(filler))


def _of_weights(layer: keras.layers.Layer, loss: Callable[..., Any], **arrays: Any) -> list[np.ndarray]:
    """Gradients of `loss(**arrays)` with respect to the weights of the layer and to the arrays."""
    weights = [to_numpy(weight) for weight in layer.trainable_variables]
    fixed = [to_numpy(weight) for weight in layer.non_trainable_variables]

    def run(weights, arrays):
        with keras.StatelessScope(
            [
                *zip(layer.trainable_variables, weights, strict=True),
                *zip(layer.non_trainable_variables, map(ops.convert_to_tensor, fixed), strict=True),
            ]
        ):
            return loss(**arrays)

    found = gradients(run, {"weights": weights, "arrays": arrays})
    return [*found["weights"], *found["arrays"].values()]


def _assert_same(actual: list[np.ndarray], expected: list[np.ndarray]) -> None:
    assert max(np.abs(array).max() for array in expected) > 1e-3
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@fillers
@pytest.mark.parametrize("kind", KINDS)
def test_attention(kind, filler):
    arrays, layer = inputs(kind), make(kind, heads=2)
    mask = arrays["history_mask"]
    expected = to_numpy(call(layer, arrays))
    filled = _filled(arrays["history"], mask, filler)
    interest, weights = call(layer, arrays | {"history": filled}, return_weights=True)
    np.testing.assert_allclose(to_numpy(interest), expected, atol=1e-6)
    assert not to_numpy(interest)[-1].any()
    assert not to_numpy(weights)[~np.broadcast_to(mask[:, None, None], weights.shape)].any()

    def loss(**x):
        return ops.sum(call(layer, arrays | x) ** 2)

    both = [_of_weights(layer, loss, candidates=arrays["candidates"], history=h) for h in (filled, arrays["history"])]
    _assert_same(*both)
    assert not both[0][-1][~mask].any()


@fillers
@pytest.mark.parametrize("kind", KINDS[:2])
def test_attention_in_parts(kind, filler):
    arrays, layer = inputs(kind), make(kind, 2)
    expected = to_numpy(call(layer, arrays))
    filled = _filled(arrays["history"], arrays["history_mask"], filler)
    keys, values = layer.encode_history(filled, arrays["history_mask"])
    side = [[arrays["buckets0"], arrays["buckets1"]]] if kind == "decoupled" else []
    interest = layer.attend(arrays["candidates"], keys, values, *side, arrays["history_mask"])
    np.testing.assert_allclose(to_numpy(interest), expected, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS[:2])
def test_a_mask_of_another_shape_is_refused(kind):
    layer, arrays = make(kind), inputs(kind)
    call(layer, arrays)
    for mask, message in (
        (np.ones((3, 5), bool), r"`history_mask` must have 6 in dimension 1.*\(3, 5\)"),
        (np.ones((2, 6), bool), r"`history_mask` must have 3 in dimension 0.*\(2, 6\)"),
        (np.ones((3, 6), "int32"), "`history_mask` must be of dtype bool. Received: dtype int32"),
    ):
        with pytest.raises(ValueError, match=message):
            layer.encode_history(arrays["history"], mask)


@fillers
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("activation", ["dice", "sigmoid"])
def test_local_activation_unit(activation, training, filler):
    rng = np.random.default_rng(0)
    layer = LocalActivationUnit((5, 4), activation)
    arrays = inputs("id_only")
    candidates = rng.normal(size=(3, 4, 6)).astype(np.float32)
    history, mask, real = arrays["history"], arrays["history_mask"], np.arange(4) < [[4], [2], [1]]

    def run(candidates, history):
        return layer(candidates, history, mask, real, training=training)

    run(candidates, history)
    bad = {"candidates": _filled(candidates, real, filler), "history": _filled(history, mask, filler)}

    def loss(candidates, history):
        return ops.sum(ops.where(ops.expand_dims(ops.convert_to_tensor(real), -1), run(candidates, history), 0.0) ** 2)

    # In training a call moves the statistics, so all that is compared starts from the same.
    start = layer.get_weights()
    expected = to_numpy(run(candidates, history))
    moved = layer.get_weights()
    layer.set_weights(start)
    np.testing.assert_allclose(to_numpy(run(**bad))[real], expected[real], atol=1e-5)
    for one, other in zip(layer.get_weights(), moved, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    layer.set_weights(start)
    _assert_same(_of_weights(layer, loss, **bad), _of_weights(layer, loss, candidates=candidates, history=history))


@fillers
def test_dice_in_training(filler):
    rng = np.random.default_rng(0)
    x, mask = rng.normal(size=(6, 5, 3)).astype(np.float32), rng.random((6, 5)) < 0.6
    layer = Dice()
    layer.build((None, None, 3))
    layer.alpha.assign([0.2, -0.1, 0.3])

    def loss(inputs):
        out = layer(inputs, mask=mask, training=True)
        return ops.sum(ops.where(ops.expand_dims(ops.convert_to_tensor(mask), -1), out, 0.0) ** 2)

    _assert_same(_of_weights(layer, loss, inputs=_filled(x, mask, filler)), _of_weights(layer, loss, inputs=x))


@fillers
@pytest.mark.parametrize("edges", ["equal", [-0.5, 0.0, 0.5]])
def test_similarity_buckets(edges, filler):
    rng = np.random.default_rng(0)
    candidates, history = (rng.normal(size=(3, n, 6)).astype(np.float32) for n in (4, 5))
    there, present = rng.random((3, 4)) < 0.6, rng.random((3, 5)) < 0.6
    layer = SimilarityBuckets(4, edges)
    expected = to_numpy(layer(candidates, history, there, present))
    filled = layer(_filled(candidates, there, filler), _filled(history, present, filler), there, present)
    np.testing.assert_array_equal(to_numpy(filled), expected)
