from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops, tree

from dmf_keras.ops import decoupled_attention, decoupled_attention_reference
from tests.dmf_keras.gradients import gradients

BUCKETS = 6
FORMS = (decoupled_attention, decoupled_attention_reference)
FLOATS = ("query", "keys", "values", "key_tables", "value_tables")
to_numpy = keras.ops.convert_to_numpy
tensorflow_only = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="looks at what only a TensorFlow graph has"
)


def _arguments(batch=3, candidates=4, length=5, heads=2, width=8, modalities=2, seed=0):
    rng = np.random.default_rng(seed)
    normal = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
    mask = np.arange(length) >= rng.integers(0, length + 1, (batch, 1))
    mask[0] = False  # an empty history
    ids = lambda: rng.integers(0, BUCKETS + 1, (batch, candidates, length)).astype(np.int32)  # noqa: E731
    return {
        "query": normal(batch, candidates, heads, width),
        "keys": normal(batch, length, heads, width),
        "values": normal(batch, length, heads, width),
        "buckets": [ids() for _ in range(modalities)],
        "key_tables": [normal(BUCKETS + 1, heads, width) for _ in range(modalities)],
        "value_tables": [normal(BUCKETS + 1, heads, width) for _ in range(modalities)],
        "history_mask": mask,
    }


def _run(form, arguments, drop=None, dtype="float32"):
    """Interest and weights as float32 arrays, and the dtypes that they had."""
    tensors = tree.map_structure(
        lambda array: ops.convert_to_tensor(array, dtype if array.dtype == np.float32 else None), arguments
    )
    outputs = form(**tensors, drop=drop)
    dtypes = [keras.backend.standardize_dtype(output.dtype) for output in outputs]
    return *[to_numpy(output).astype(np.float32) for output in outputs], dtypes


def _loop(query, keys, values, buckets, key_tables, value_tables, history_mask):
    """The paper's equations, one pair at a time."""
    batch, candidates, heads, width = query.shape
    interest = np.zeros(query.shape)
    weights = np.zeros((batch, heads, candidates, keys.shape[1]))
    for b, n, h in np.ndindex(batch, candidates, heads):
        kept = np.flatnonzero(history_mask[b])
        if not kept.size:
            continue
        pair_keys, pair_values = [], []
        for j in kept:
            ids = [modality[b, n, j] for modality in buckets]
            pair_keys.append(keys[b, j, h] + sum(t[i, h] for t, i in zip(key_tables, ids, strict=True)))
            pair_values.append(values[b, j, h] + sum(t[i, h] for t, i in zip(value_tables, ids, strict=True)))
        logits = np.stack(pair_keys) @ query[b, n, h] / np.sqrt(width)
        exponents = np.exp(logits - logits.max())
        weights[b, h, n, kept] = exponents / exponents.sum()
        interest[b, n, h] = weights[b, h, n, kept] @ np.stack(pair_values)
    return interest, weights


def _drop_half(shape, seed=3):
    """A drop function that is the same in every form: half of the weights, by position."""
    kept = np.random.default_rng(seed).integers(0, 2, shape).astype(np.float32) * 2
    return lambda weights: weights * ops.convert_to_tensor(kept)


@pytest.mark.parametrize("heads", [1, 2])
def test_masked_pairs_have_no_weight_and_the_others_share_theirs(heads):
    arguments = _arguments(heads=heads)
    rng = np.random.default_rng(5)
    pair_mask = (rng.random((3, 4, 5)) < 0.5) | (np.arange(5) == 4)  # the last is never padding
    without, all_weights, _ = _run(decoupled_attention, arguments)
    results = [_run(form, {**arguments, "pair_mask": pair_mask}) for form in FORMS]
    expected = all_weights * pair_mask[:, None]
    expected = expected / np.maximum(expected.sum(-1, keepdims=True), 1e-30)
    for interest, weights, _ in results:
        np.testing.assert_allclose(weights, expected, atol=1e-6)
        np.testing.assert_allclose(interest, results[0][0], atol=1e-5)
    assert np.abs(results[0][0] - without).max() > 1e-2
    everything = _run(decoupled_attention, {**arguments, "pair_mask": np.ones((3, 4, 5), bool)})
    np.testing.assert_array_equal(everything[0], without)


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("modalities", [0, 1, 2])
@pytest.mark.parametrize("form", FORMS)
def test_both_forms_equal_the_equations(form, heads, modalities):
    arguments = _arguments(heads=heads, modalities=modalities)
    expected, expected_weights = _loop(**arguments)
    interest, weights, _ = _run(form, arguments)
    np.testing.assert_allclose(interest, expected, atol=1e-5)
    np.testing.assert_allclose(weights, expected_weights, atol=1e-5)
    assert not np.any(interest[0])
    assert not np.any(weights[~np.broadcast_to(arguments["history_mask"][:, None, None], weights.shape)])


@pytest.mark.parametrize("dropped", [False, True])
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("heads", [1, 4])
def test_factored_equals_textbook_in_value_and_all_gradients(heads, jit_compile, dropped):
    arguments = _arguments(batch=4, candidates=7, length=9, heads=heads)
    target = np.random.default_rng(1).normal(size=arguments["query"].shape).astype(np.float32)
    drop = _drop_half((4, heads, 7, 9)) if dropped else None
    constant = {name: arguments[name] for name in ("buckets", "history_mask")}

    def loss(form, **floats):
        interest, weights = form(**floats, **tree.map_structure(ops.convert_to_tensor, constant), drop=drop)
        return ops.sum(interest * ops.convert_to_tensor(target)) + ops.sum(weights**2)

    (one, one_weights, _), (other, other_weights, _) = (_run(form, arguments, drop) for form in FORMS)
    np.testing.assert_allclose(one, other, atol=1e-5)
    np.testing.assert_allclose(one_weights, other_weights, atol=1e-5)
    floats = {name: arguments[name] for name in FLOATS}
    factored, textbook = (gradients(lambda form=form, **x: loss(form, **x), floats, jit_compile) for form in FORMS)
    for name in FLOATS:
        for one, other in zip(tree.flatten(factored[name]), tree.flatten(textbook[name]), strict=True):
            assert np.abs(other).max() > 1e-3
            np.testing.assert_allclose(one, other, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("form", FORMS)
def test_drop_is_applied_after_the_softmax_and_before_values_and_tables(form):
    arguments = _arguments()
    dropped, weights, _ = _run(form, arguments, _drop_half((3, 2, 4, 5)))
    kept, kept_weights, _ = _run(form, arguments)
    np.testing.assert_array_equal(weights, kept_weights)  # what is returned is what the softmax gave
    assert np.abs(dropped - kept).max() > 0.1
    nothing, _, _ = _run(form, arguments, lambda weights: weights * 0.0)
    assert not nothing.any()
    # Twice the weights is twice the interest: the share of the tables is dropped as the share of the values is.
    doubled, _, _ = _run(form, arguments, lambda weights: weights * 2.0)
    np.testing.assert_allclose(doubled, 2 * kept, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_of_an_empty_history_are_zeros(form):
    arguments = _arguments()
    arguments["history_mask"][:] = False
    constant = {name: arguments[name] for name in ("buckets", "history_mask")}

    def loss(**floats):
        return ops.sum(form(**floats, **tree.map_structure(ops.convert_to_tensor, constant))[0] ** 2)

    for gradient in tree.flatten(gradients(loss, {name: arguments[name] for name in FLOATS})):
        assert not gradient.any() and np.isfinite(gradient).all()


@pytest.mark.parametrize(("dtype", "worst", "average"), [("bfloat16", 0.1, 0.02), ("float16", 0.02, 0.003)])
@pytest.mark.parametrize("form", FORMS)
def test_low_precision_is_near_float32(form, dtype, worst, average):
    """2^-9 (bfloat16) or 2^-12 (float16) of sums of values of size 1 to 4 gives errors of hundredths or thousandths."""
    arguments = _arguments()
    expected, _, _ = _run(form, arguments)
    interest, weights, dtypes = _run(form, arguments, dtype=dtype)
    assert dtypes == [dtype, "float32"]
    np.testing.assert_allclose(interest, expected, atol=worst)
    assert np.abs(interest - expected).mean() < average
    assert not interest[0].any()
    sums = np.broadcast_to(np.any(arguments["history_mask"], -1)[:, None, None], weights.shape[:-1])
    np.testing.assert_allclose(weights.sum(-1), sums, atol=1e-6)  # 8 bits would miss 1 by more


@tensorflow_only
def test_nothing_grows_with_pairs_times_width():
    """No tensor of the graph is as large as [B, N, L, A] or a one-hot [B, N, L, S]."""
    import tensorflow as tf

    batch, candidates, length, width = 2, 30, 40, 16
    arguments = tree.map_structure(
        tf.constant, _arguments(batch, candidates, length, heads=1, width=width, modalities=1)
    )

    def largest(form):
        def loss_and_gradients(query, keys):
            with tf.GradientTape() as tape:
                tape.watch([query, keys])
                interest, _ = form(**{**arguments, "query": query, "keys": keys})
                loss = tf.reduce_sum(interest**2)
            return tape.gradient(loss, [query, keys])

        graph = tf.function(loss_and_gradients).get_concrete_function(arguments["query"], arguments["keys"]).graph
        shapes = [output.shape for operation in graph.get_operations() for output in operation.outputs]
        return max(shape.num_elements() or 0 for shape in shapes)

    pairs = batch * candidates * length
    assert largest(decoupled_attention_reference) >= pairs * width
    assert largest(decoupled_attention) < pairs * BUCKETS


@tensorflow_only
def test_gradients_are_deterministic_where_that_is_asked_for():
    import tensorflow as tf
    from tensorflow.python.framework.config import disable_op_determinism  # TensorFlow publishes only the switch on

    arguments = tree.map_structure(tf.constant, _arguments(batch=64, candidates=3, length=20, heads=1))

    @tf.function
    def gradient(tables):
        with tf.GradientTape() as tape:
            tape.watch(tables)
            loss = tf.reduce_sum(decoupled_attention(**{**arguments, "key_tables": tables})[0] ** 2)
        return tape.gradient(loss, tables)

    keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()
    try:
        first = gradient(arguments["key_tables"])
        for _ in range(3):
            for one, other in zip(first, gradient(arguments["key_tables"]), strict=True):
                np.testing.assert_array_equal(one, other)
    finally:
        disable_op_determinism()
