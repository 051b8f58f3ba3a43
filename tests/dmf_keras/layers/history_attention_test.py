"""What holds for every attention layer: ID-only, decoupled, early fusion."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from tests.dmf_keras.gradients import gradients
from tests.dmf_keras.layers.attention_inputs import BUCKETS, DIM, KINDS, bucket_names, call, inputs, make, to_numpy

LAYERS = {kind: make(kind, heads=2) for kind in KINDS}
for built in LAYERS.values():
    built.build((None, None, 7), (None, None, 6))
every_layer = pytest.mark.parametrize("kind", KINDS)
# Sizes are fixed: JAX compiles every operation again for every shape.
properties = settings(max_examples=12, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def _select(arrays, candidates=None, history=None):
    """The arrays with candidates and history items picked, in the order given."""
    names = bucket_names(arrays)
    picked = dict(arrays)
    if candidates is not None:
        picked |= {name: arrays[name][:, candidates] for name in ("candidates", *names)}
    if history is not None:
        picked |= {name: arrays[name][:, history] for name in ("history", "history_mask")}
        picked |= {name: arrays[name][:, :, history] for name in names}
    return picked


@every_layer
@properties
@given(seeds, st.floats(-1e3, 1e3))
def test_padding_of_the_history_changes_nothing(kind, seed, filler):
    arrays = inputs(kind, seed=seed)
    padded = {
        "candidates": arrays["candidates"],
        "history": np.pad(arrays["history"], ((0, 0), (0, 3), (0, 0)), constant_values=filler),
        "history_mask": np.pad(arrays["history_mask"], ((0, 0), (0, 3))),
    }
    for name in bucket_names(arrays):
        padded[name] = np.pad(arrays[name], ((0, 0), (0, 0), (0, 3)), constant_values=BUCKETS)
    interest, weights = call(LAYERS[kind], padded, return_weights=True)
    np.testing.assert_allclose(to_numpy(interest), to_numpy(call(LAYERS[kind], arrays)), atol=1e-5)
    kept = np.broadcast_to(padded["history_mask"][:, None, None], weights.shape)
    assert not to_numpy(weights)[~kept].any() and not to_numpy(interest)[-1].any()


@every_layer
@properties
@given(seeds)
def test_candidates_are_independent_and_their_order_is_kept(kind, seed):
    """Any candidates in any order score as they do among all: so padding of candidates changes nothing either."""
    arrays = inputs(kind, candidates=5, seed=seed)
    order = np.random.default_rng(seed).permutation(5)[:3]
    interest = to_numpy(call(LAYERS[kind], arrays))
    np.testing.assert_allclose(to_numpy(call(LAYERS[kind], _select(arrays, order))), interest[:, order], atol=1e-5)


@every_layer
@properties
@given(seeds)
def test_the_order_of_the_history_does_not_matter(kind, seed):
    arrays = inputs(kind, seed=seed)
    order = np.random.default_rng(seed).permutation(6)
    interest, weights = call(LAYERS[kind], arrays, return_weights=True)
    permuted, permuted_weights = call(LAYERS[kind], _select(arrays, history=order), return_weights=True)
    np.testing.assert_allclose(to_numpy(permuted), to_numpy(interest), atol=1e-5)
    np.testing.assert_allclose(to_numpy(permuted_weights), to_numpy(weights)[..., order], atol=1e-5)


@every_layer
def test_an_empty_history_gives_zeros_in_value_and_gradient(kind):
    arrays = inputs(kind)
    arrays["history_mask"][:] = False
    floats = {name: arrays[name] for name in ("candidates", "history")}
    assert not to_numpy(call(LAYERS[kind], arrays)).any()
    found = gradients(lambda **x: ops.sum(call(LAYERS[kind], arrays | x)), floats)
    assert not any(gradient.any() or np.isnan(gradient).any() for gradient in found.values())


@every_layer
def test_a_user_without_history_is_no_harm_to_the_others(kind):
    arrays = inputs(kind)
    floats = {name: arrays[name] for name in ("candidates", "history")}
    for gradient in gradients(lambda **x: ops.sum(call(LAYERS[kind], arrays | x) ** 2), floats).values():
        assert np.isfinite(gradient).all()
        assert np.abs(gradient[0]).max() > 1e-3 and not gradient[-1].any()


@every_layer
def test_a_history_of_one_is_its_value(kind):
    arrays = inputs(kind, batch=1, history=1)
    interest, weights = call(LAYERS[kind], arrays, return_weights=True)
    np.testing.assert_array_equal(to_numpy(weights), np.ones((1, 2, 4, 1)))
    doubled = call(LAYERS[kind], arrays | {"candidates": 2 * arrays["candidates"]})
    np.testing.assert_allclose(to_numpy(doubled), to_numpy(interest), atol=1e-6)
    assert np.abs(to_numpy(interest)).max() > 0.1


@every_layer
@pytest.mark.parametrize(("candidates", "history"), [(1, 1), (2000, 3), (2, 1000)])
def test_extreme_lengths(kind, candidates, history):
    arrays = inputs(kind, 2, candidates, history)
    interest, weights = call(LAYERS[kind], arrays, return_weights=True)
    assert tuple(interest.shape) == (2, candidates, DIM)
    assert np.isfinite(to_numpy(interest)).all()
    np.testing.assert_allclose(to_numpy(weights)[0].sum(-1), 1.0, atol=1e-5)
    last = call(LAYERS[kind], _select(arrays, slice(candidates - 1, None)))
    np.testing.assert_allclose(to_numpy(last), to_numpy(interest)[:, -1:], atol=1e-5)


def _with_weights_of(layer, **kwargs):
    """A new layer like `layer` with `kwargs` changed, and with its weights."""
    other = type(layer).from_config(layer.get_config() | kwargs)
    other.build((None, None, 7), (None, None, 6))
    for one, source in zip(other.trainable_weights, layer.trainable_weights, strict=True):
        one.assign(np.array(to_numpy(source)))  # a copy: training may reuse the memory of what it updates
    return other


@every_layer
@pytest.mark.parametrize(("policy", "worst", "average"), [
    ("mixed_bfloat16", 0.04, 0.005), ("mixed_float16", 0.004, 0.0006),
])  # fmt: skip
def test_mixed_precision_is_near_float32(kind, policy, worst, average):
    """Interests are of size 1 to 3, so that bfloat16 (2^-9) misses by hundredths and float16 (2^-12) by thousandths."""
    arrays = inputs(kind)
    expected, expected_weights = (to_numpy(x) for x in call(LAYERS[kind], arrays, return_weights=True))
    layer = _with_weights_of(LAYERS[kind], dtype=policy)
    interest, weights = call(layer, arrays, return_weights=True)
    assert keras.backend.standardize_dtype(interest.dtype) == policy.removeprefix("mixed_")
    assert keras.backend.standardize_dtype(weights.dtype) == "float32"
    differences = np.abs(to_numpy(interest) - expected)
    assert differences.max() < worst and differences.mean() < average
    np.testing.assert_allclose(to_numpy(weights), expected_weights, atol=worst)
    np.testing.assert_allclose(to_numpy(weights)[:-1].sum(-1), 1.0, atol=1e-6)  # 8 bits would miss 1 by more
    assert not to_numpy(interest)[-1].any()


@every_layer
def test_dropout_is_off_at_inference_and_at_rate_zero(kind):
    arrays = inputs(kind)
    expected = to_numpy(call(LAYERS[kind], arrays))
    np.testing.assert_array_equal(to_numpy(call(_with_weights_of(LAYERS[kind], dropout=0.5), arrays)), expected)
    np.testing.assert_array_equal(to_numpy(call(LAYERS[kind], arrays, training=True)), expected)


@every_layer
def test_dropout_keeps_the_expectation(kind):
    """One request 1000 times: within five standard errors of the mean."""
    layer = _with_weights_of(LAYERS[kind], dropout=0.25)
    one = {name: array[:1] for name, array in inputs(kind).items()}
    many = {name: np.repeat(array, 1000, axis=0) for name, array in one.items()}
    expected, expected_weights = call(layer, one, return_weights=True)
    interest, weights = call(layer, many, return_weights=True, training=True)
    drawn = to_numpy(interest)
    away = np.abs(drawn.mean(0) - to_numpy(expected)[0])
    assert (away <= 5 * drawn.std(0) / np.sqrt(len(drawn)) + 1e-5).all()
    assert drawn.std(0).max() > 0.1
    np.testing.assert_allclose(to_numpy(weights), np.repeat(to_numpy(expected_weights), 1000, 0), atol=1e-5)


@every_layer
def test_dropout_in_a_compiled_model_that_trains(kind):
    arrays = inputs(kind)
    symbolic = {name: keras.Input(array.shape[1:], dtype=str(array.dtype), name=name) for name, array in arrays.items()}
    layer = _with_weights_of(LAYERS[kind], dropout=0.5)
    model = keras.Model(symbolic, call(layer, symbolic))
    expected = to_numpy(model(arrays))
    np.testing.assert_array_equal(to_numpy(model(arrays, training=False)), expected)
    first, second = to_numpy(model(arrays, training=True)), to_numpy(model(arrays, training=True))
    assert np.abs(first - expected).max() > 0.1 and np.abs(first - second).max() > 0.1
    model.compile(keras.optimizers.Adam(0.05), "mse", jit_compile=True)
    losses = [model.train_on_batch(arrays, np.ones((3, 4, DIM))) for _ in range(20)]
    assert np.isfinite(losses).all() and np.mean(losses[-5:]) < np.mean(losses[:5])


@every_layer
def test_projections_start_different(kind):
    layer = LAYERS[kind]
    assert not np.array_equal(to_numpy(layer.key.kernel), to_numpy(layer.value.kernel))


@every_layer
@pytest.mark.parametrize(("arguments", "message"), [
    ({"dim": 10, "heads": 3}, "multiple of `heads`. Received: dim=10, heads=3"),
    ({"dim": 0}, "`dim` must be .* Received: 0"),
    ({"heads": 1.0}, "`heads` must be .* Received: 1.0"),
    ({"dropout": -0.1}, "`dropout` must be a number from 0 to 1. Received: -0.1"),
    ({"dropout": 1}, "`dropout` must be below 1.* Received: 1"),
])  # fmt: skip
def test_refuses_arguments(kind, arguments, message):
    with pytest.raises(ValueError, match=message):
        type(LAYERS[kind])(**arguments)


@every_layer
@pytest.mark.parametrize(("changed", "message"), [
    ({"history": np.zeros((3, 6), np.float32)}, r"`history` must have shape.*Received: shape \(3, 6\)"),
    ({"history": np.zeros((3, 6, 5), np.float32)}, r"`history` must have 6 in dimension 2.*\(3, 6, 5\)"),
    ({"history": np.zeros((3, 6, 6), np.int32)}, "`history` must be of dtype float. Received: dtype int32"),
    ({"candidates": np.zeros((3, 7), np.float32)}, r"`candidates` must have shape.*Received: shape \(3, 7\)"),
    ({"candidates": np.zeros((3, 4, 8), np.float32)}, r"`candidates` must have 7 in dimension 2.*\(3, 4, 8\)"),
    ({"candidates": np.zeros((3, 4, 7), np.int32)}, "`candidates` must be of dtype float. Received: dtype int32"),
    ({"history_mask": np.ones((3, 6), np.float32)}, "`history_mask` must be of dtype bool. Received: dtype float32"),
    ({"history_mask": np.ones((3, 7), bool)}, r"`history_mask` must have 6 in dimension 1.*\(3, 7\)"),
    ({"history_mask": np.ones((2, 6), bool)}, r"`history_mask` must have 3 in dimension 0.*\(2, 6\)"),
    ({"history_mask": np.ones(6, bool)}, r"`history_mask` must have shape \(batch, history\).*\(6,\)"),
])  # fmt: skip
def test_refuses_inputs(kind, changed, message):
    with pytest.raises(ValueError, match=message):
        call(LAYERS[kind], inputs(kind) | changed)
