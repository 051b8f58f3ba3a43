from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from dmf_keras.layers import LocalActivationUnit
from dmf_keras.testing import check_layer

to_numpy = keras.ops.convert_to_numpy
WIDTH = 3


def _inputs(batch=3, candidates=4, history=5, seed=0):
    rng = np.random.default_rng(seed)
    mask = rng.random((batch, history)) < 0.7
    mask[0] = False
    return {
        "candidates": rng.normal(size=(batch, candidates, WIDTH)).astype(np.float32),
        "history": rng.normal(size=(batch, history, WIDTH)).astype(np.float32),
        "history_mask": mask,
    }


def _filled(activation="dice", hidden_units=(6, 4), seed=1, **kwargs):
    """A layer whose weights are all drawn, biases and statistics included."""
    layer = LocalActivationUnit(hidden_units, activation, **kwargs)
    layer.build((None, None, WIDTH), (None, None, WIDTH))
    rng = np.random.default_rng(seed)
    for weight in layer.weights:
        low = 0.5 if "variance" in weight.name else -0.5
        weight.assign(low + rng.random(weight.shape))
    return layer


class TextbookUnit(LocalActivationUnit):
    """The MLP on the concatenation, as the paper has it; the same weights."""

    def call(self, candidates, history, history_mask, training=False):
        shape = (*ops.shape(candidates)[:2], ops.shape(history)[1], self.width)
        q = ops.broadcast_to(ops.expand_dims(candidates, 2), shape)
        k = ops.broadcast_to(ops.expand_dims(history, 1), shape)
        hidden = ops.matmul(ops.concatenate([q, k, q - k, q * k], axis=-1), self.kernel) + self.bias
        kept = ops.broadcast_to(ops.expand_dims(history_mask, 1), shape[:3])
        for depth, dense in enumerate(self.dense):
            if self.activation == "dice":
                hidden = self.dice[depth](hidden, mask=kept, training=training)
            else:
                hidden = self.activation(hidden)
            hidden = dense(hidden)
        weights = ops.where(kept, hidden[..., 0], 0.0)
        return ops.sum(ops.expand_dims(weights, -1) * k, axis=2)


def _loop(layer, candidates, history, history_mask, activate):
    """Weights and interest in float64, one pair after the other."""
    weights = np.zeros((*candidates.shape[:2], history.shape[1]))
    dense = [(to_numpy(d.kernel).astype(float), to_numpy(d.bias).astype(float)) for d in layer.dense]
    first = to_numpy(layer.kernel).astype(float), to_numpy(layer.bias).astype(float)
    for b, n, j in np.ndindex(weights.shape):
        q, k = candidates[b, n].astype(float), history[b, j].astype(float)
        hidden = np.concatenate([q, k, q - k, q * k]) @ first[0] + first[1]
        for depth, (kernel, bias) in enumerate(dense):
            hidden = activate(hidden, depth) @ kernel + bias
        weights[b, n, j] = hidden[0] if history_mask[b, j] else 0
    return np.einsum("bnl,bld->bnd", weights, history.astype(float)), weights


@pytest.mark.parametrize("hidden_units", [(5,), (6, 4), (6, 4, 2)])
@pytest.mark.parametrize("activation", ["dice", "sigmoid", "relu"])
def test_equals_the_definition(activation, hidden_units):
    inputs = _inputs()
    layer = _filled(activation, hidden_units)

    def activate(x, depth):
        if activation == "sigmoid":
            return 1 / (1 + np.exp(-x))
        if activation == "relu":
            return np.maximum(x, 0)
        dice = layer.dice[depth]
        mean, variance, alpha = (
            to_numpy(w).astype(float) for w in (dice.moving_mean, dice.moving_variance, dice.alpha)
        )
        p = 1 / (1 + np.exp(-(x - mean) / np.sqrt(variance + 1e-8)))
        return p * x + (1 - p) * alpha * x

    interest, weights = layer(**inputs, return_weights=True)
    expected, expected_weights = _loop(layer, **inputs, activate=activate)
    np.testing.assert_allclose(to_numpy(weights), expected_weights, atol=1e-5)
    np.testing.assert_allclose(to_numpy(interest), expected, atol=1e-5)
    assert (to_numpy(weights)[~np.repeat(inputs["history_mask"][:, None], 4, 1)] == 0).all()
    assert not to_numpy(interest)[0].any(), "an empty history has no interest"


def test_normalized_weights_are_the_softmax_of_real_history():
    inputs = _inputs()
    plain, layer = _filled(), LocalActivationUnit((6, 4), normalize=True)
    layer.build((None, None, WIDTH), (None, None, WIDTH))
    assert layer.dense[-1].bias is None, "a softmax does not see it"
    layer.kernel.assign(plain.kernel)
    layer.bias.assign(plain.bias)
    for own, other in zip((*layer.dense, *layer.dice), (*plain.dense, *plain.dice), strict=True):
        own.set_weights(other.get_weights()[: len(own.get_weights())])
    logits = to_numpy(plain(**inputs, return_weights=True)[1])
    interest, weights = layer(**inputs, return_weights=True)
    exponents = np.exp(logits) * inputs["history_mask"][:, None]
    expected = exponents / np.maximum(exponents.sum(-1, keepdims=True), 1e-9)
    np.testing.assert_allclose(to_numpy(weights), expected, atol=1e-5)
    np.testing.assert_allclose(to_numpy(interest), expected @ inputs["history"], atol=1e-5)
    assert not to_numpy(interest)[0].any(), "an empty history has no interest"


def _trained_by_one_step(layer, inputs):
    """Weights of a model with trained embeddings before `layer`, after a step of SGD at rate 1: minus the gradients."""
    rng = np.random.default_rng(3)
    ids = {"candidates": rng.integers(0, 9, inputs["candidates"].shape[:2]), "history": rng.integers(0, 9, (3, 5))}
    embedding = keras.layers.Embedding(9, WIDTH, embeddings_initializer=keras.initializers.RandomNormal(seed=4))
    symbolic = {name: keras.Input((None,), dtype="int32", name=name) for name in ids}
    mask = keras.Input((None,), dtype="bool", name="history_mask")
    outputs = layer(embedding(symbolic["candidates"]), embedding(symbolic["history"]), mask)
    model = keras.Model({**symbolic, "history_mask": mask}, outputs)
    model.compile(keras.optimizers.SGD(1.0), loss=lambda y, z: keras.ops.sum(y * z))
    before = [to_numpy(weight).copy() for weight in model.weights]
    target = rng.normal(size=(3, 4, WIDTH)).astype(np.float32)
    model.train_on_batch({**ids, "history_mask": inputs["history_mask"]}, target)
    steps = [to_numpy(weight) - old for weight, old in zip(model.weights, before, strict=True)]
    names = [weight.path.split("/", 1)[-1] for weight in model.weights]
    return steps, names


@pytest.mark.parametrize("activation", ["dice", "sigmoid"])
def test_gradients_equal_those_of_the_textbook_form(activation):
    inputs = _inputs()
    textbook = TextbookUnit((6, 4), activation)
    textbook.build((None, None, WIDTH), (None, None, WIDTH))
    factored = _filled(activation)
    for one, other in zip(textbook.weights, factored.weights, strict=True):
        one.assign(to_numpy(other))
    steps, names = _trained_by_one_step(factored, inputs)
    expected, _ = _trained_by_one_step(textbook, inputs)
    for step, other, name in zip(steps, expected, names, strict=True):
        np.testing.assert_allclose(step, other, atol=1e-4, rtol=1e-4, err_msg=name)
        assert np.abs(step).max() > 1e-6, f"{name} takes no part"


def test_an_empty_history_has_finite_gradients():
    inputs = _inputs()
    inputs["history_mask"][:] = False
    steps, names = _trained_by_one_step(_filled(), inputs)
    for step, name in zip(steps, names, strict=True):
        np.testing.assert_array_equal(step, 0, err_msg=name)


def test_parts_are_the_call():
    inputs = _inputs()
    layer = _filled()
    whole = to_numpy(layer(**inputs))
    part = layer.encode_history(inputs["history"])
    pages = [
        layer.attend(inputs["candidates"][:, page], inputs["history"], part, inputs["history_mask"])
        for page in (slice(0, 3), slice(3, 4))
    ]
    np.testing.assert_allclose(np.concatenate([to_numpy(page) for page in pages], 1), whole, atol=1e-6)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 3]), st.sampled_from([0, 2]), st.sampled_from([0.0, 1e3]))
def test_padding_order_and_other_candidates_change_nothing(seed, more_history, more_candidates, value):
    inputs = _inputs(seed=seed)
    layer = _filled()
    expected = to_numpy(layer(**inputs))
    rng = np.random.default_rng(seed)
    order, items = rng.permutation(4), rng.permutation(5)
    changed = {
        "candidates": np.pad(
            inputs["candidates"][:, order], ((0, 0), (0, more_candidates), (0, 0)), constant_values=value
        ),
        "history": np.pad(inputs["history"][:, items], ((0, 0), (0, more_history), (0, 0)), constant_values=value),
        "history_mask": np.pad(inputs["history_mask"][:, items], ((0, 0), (0, more_history))),
    }
    np.testing.assert_allclose(to_numpy(layer(**changed))[:, :4], expected[:, order], atol=1e-5)


def test_padding_changes_nothing_in_training_either():
    inputs = _inputs()
    padded = {
        "candidates": np.pad(inputs["candidates"], ((0, 0), (0, 3), (0, 0)), constant_values=9),
        "history": np.pad(inputs["history"], ((0, 0), (0, 2), (0, 0)), constant_values=-9),
        "history_mask": np.pad(inputs["history_mask"], ((0, 0), (0, 2))),
        "candidates_mask": np.tile(np.arange(7) < 4, (3, 1)),
    }
    plain, other = _filled(), _filled()
    expected = to_numpy(plain(**inputs, training=True))
    np.testing.assert_allclose(to_numpy(other(**padded, training=True))[:, :4], expected, atol=1e-5)
    for one, two in zip(plain.non_trainable_weights, other.non_trainable_weights, strict=True):
        np.testing.assert_allclose(to_numpy(one), to_numpy(two), atol=1e-6)


@pytest.mark.parametrize(("candidates", "history"), [(1, 1), (2000, 1), (1, 1000)])
def test_extreme_sizes_are_finite(candidates, history):
    interest = to_numpy(_filled()(**_inputs(2, candidates, history)))
    assert interest.shape == (2, candidates, WIDTH)
    assert np.isfinite(interest).all()


def test_mixed_precision_stays_near():
    inputs = _inputs()
    low = _filled(dtype="mixed_bfloat16")(**inputs)
    assert keras.backend.standardize_dtype(low.dtype) == "bfloat16"
    np.testing.assert_allclose(
        to_numpy(keras.ops.cast(low, "float32")), to_numpy(_filled()(**inputs)), atol=0.05, rtol=0.05
    )


def test_statistics_are_saved(tmp_path):
    inputs = _inputs()
    layer = LocalActivationUnit((6, 4))
    symbolic = {name: keras.Input(array.shape[1:], dtype=str(array.dtype), name=name) for name, array in inputs.items()}
    model = keras.Model(symbolic, layer(**symbolic))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(inputs, np.ones((3, 4, WIDTH)), epochs=3, verbose=0)
    assert (to_numpy(layer.dice[0].moving_mean) != 0).all()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(to_numpy(loaded(inputs)), to_numpy(model(inputs)), atol=1e-6)


@pytest.mark.parametrize(
    ("activation", "normalize"), [("dice", False), ("dice", True), ("sigmoid", False), (keras.activations.tanh, False)]
)
def test_layer_checks(activation, normalize, tmp_path):
    make = partial(LocalActivationUnit, (6, 4), activation, keras.initializers.HeNormal(seed=1), normalize)
    check_layer(make, _inputs(), lambda layer, x: layer(**x), tmp_path)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"hidden_units": ()}, r"at least one layer. Received: \(\)"),
    ({"hidden_units": (8, 0)}, "Received: 0"),
    ({"activation": "step"}, "step"),
])  # fmt: skip
def test_refuses_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        LocalActivationUnit(**arguments)


@pytest.mark.parametrize(("changed", "message"), [
    ({"candidates": np.zeros((3, 4, 2), np.float32)}, r"`candidates` must have 3 in dimension 2.*\(3, 4, 2\)"),
    ({"candidates": np.zeros((3, 3), np.float32)}, r"shape \(batch, candidates, width\). Received: shape \(3, 3\)"),
    ({"history": np.zeros((3, 5, 2), np.float32)}, r"`history` must have 3 in dimension 2.*\(3, 5, 2\)"),
    ({"history_mask": np.ones((3, 5), np.float32)}, "`history_mask` must be of dtype bool. Received: dtype float32"),
    ({"history_mask": np.ones((3, 6), bool)}, r"as the length of the history. Received: shape \(3, 6\)"),
    ({"candidates_mask": np.ones((3, 5), bool)}, r"`candidates_mask` must have 4 in dimension 1.*\(3, 5\)"),
])  # fmt: skip
def test_refuses_inputs(changed, message):
    with pytest.raises(ValueError, match=message):
        _filled()(**{**_inputs(), **changed})


def test_refuses_different_widths():
    with pytest.raises(ValueError, match=r"of one width. Received: shapes \(3, 4, 2\) and \(3, 5, 3\)"):
        LocalActivationUnit()(**{**_inputs(), "candidates": np.zeros((3, 4, 2), np.float32)})
