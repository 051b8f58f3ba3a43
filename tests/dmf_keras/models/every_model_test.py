"""What holds for every model of the registry; a new one is in these tests by being registered."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from dmf_keras.models import ModalitySpec, RankingSchema, model_names
from tests.dmf_keras.models.batches import requests, small_model
from tests.dmf_keras.models.expected import MODELS

to_numpy = keras.ops.convert_to_numpy
CANDIDATE_NAMES = ("candidate_index", "candidate_content_row")
HISTORY_NAMES = ("history_index", "history_content_row")

pytestmark = pytest.mark.parametrize("name", model_names())


@functools.cache
def model_of(name):
    return small_model(name=name)


@functools.cache
def compiled(name, jit_compile=False):
    """The model as one graph for all shapes, which small batches pass in a fraction of the time."""
    spec = {key: tf.TensorSpec([None] * value.ndim, value.dtype) for key, value in requests(1, 1, 1).items()}
    return tf.function(model_of(name).call, input_signature=[spec], jit_compile=jit_compile)


# That takes seconds for each. Every layer is compiled by XLA in a test of its own; of models, one with attention to ids
# and content, one that compares content, one of two towers.
COMPILED_BY_XLA = ("dmf", "mim", "two_towers")


def test_call_is_score_of_encoded_user_also_page_by_page(name):
    model, x = model_of(name), requests(3, 6, 5)
    whole = to_numpy(model(x))
    assert whole.dtype == np.float32
    state = model.encode_user({key: value for key, value in x.items() if key not in CANDIDATE_NAMES})
    assert all(tensor.shape[0] == 3 for tensor in state.values())
    for page in (slice(0, 2), slice(2, 6)):
        part = model.score(state, {key: x[key][:, page] for key in CANDIDATE_NAMES})
        np.testing.assert_allclose(to_numpy(part), whole[:, page], atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 5), st.integers(1, 6), st.integers(0, 3))
def test_padding_other_candidates_and_order_change_nothing(name, seed, batch, candidates, history, padding):
    model, x = compiled(name), requests(batch, candidates, history, seed)
    scores = to_numpy(model(x))
    assert np.isfinite(scores).all()

    padded = dict(x)
    for key in (*HISTORY_NAMES, *CANDIDATE_NAMES):
        padded[key] = np.pad(x[key], ((0, 0), (0, padding)))
    np.testing.assert_allclose(to_numpy(model(padded))[:, :candidates], scores, atol=1e-5)

    front = {**x, **{key: np.pad(x[key], ((0, 0), (padding, 0))) for key in HISTORY_NAMES}}
    np.testing.assert_allclose(to_numpy(model(front)), scores, atol=1e-5)

    order = np.random.default_rng(seed).permutation(candidates)
    permuted = {**x, **{key: x[key][:, order] for key in CANDIDATE_NAMES}}
    np.testing.assert_allclose(to_numpy(model(permuted)), scores[:, order], atol=1e-5)

    alone = {**x, **{key: x[key][:, :1] for key in CANDIDATE_NAMES}}
    np.testing.assert_allclose(to_numpy(model(alone)), scores[:, :1], atol=1e-5)

    one_user = {key: value[:1] for key, value in x.items()}
    np.testing.assert_allclose(to_numpy(model(one_user)), scores[:1], atol=1e-5)


@pytest.mark.parametrize(("candidates", "history"), [(1, 1), (2000, 2), (2, 1000), (3, 0)])
def test_extreme_lengths_are_finite(name, candidates, history):
    assert np.isfinite(to_numpy(model_of(name)(requests(2, candidates, history)))).all()


def test_what_a_model_reads_matters_and_nothing_else(name):
    """The tests above would also pass if history and content were ignored."""
    model, x = model_of(name), requests(2, 5, 6)
    scores = to_numpy(model(x))

    def change(**changed):
        other = {key: np.broadcast_to(value, x[key].shape) for key, value in changed.items()}
        return np.abs(to_numpy(model({**x, **other}))[0] - scores[0]).max()

    if MODELS[name].history_ids:
        assert change(history_index=x["history_index"] % 39 + (x["history_index"] > 0)) > 1e-5
    assert change(candidate_index=x["candidate_index"] % 39 + 1) > 1e-5
    assert change(gender=(x["gender"] + 1) % 3) > 1e-5
    for rows in ("history_content_row", "candidate_content_row"):
        if MODELS[name].content or MODELS[name].codes:
            assert change(**{rows: 0}) > 1e-5
        else:
            assert change(**{rows: 0}) == 0


def test_tables_of_content_are_there_where_they_are_read(name):
    assert list(model_of(name).content) == (["text", "image"] if MODELS[name].content else [])


@pytest.mark.parametrize("history", [3, 0])
def test_nothing_known_is_scored_and_trains_without_nan(name, history):
    model = small_model(name=name)
    x = {key: np.zeros_like(value) for key, value in requests(2, 3, history).items()}
    x["candidate_index"][:] = 1
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(x, training=True) ** 2)
    for gradient in tape.gradient(loss, model.trainable_variables, unconnected_gradients="zero"):
        assert np.isfinite(tf.convert_to_tensor(gradient)).all()


def test_every_weight_is_trained(name):
    model, x = small_model(name=name), requests(8, 5, 6)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(x, training=True) ** 2)
    gradients = tape.gradient(loss, model.trainable_variables)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert gradient is not None, variable.path
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 0, variable.path


def test_learns_saves_and_loads(name, tmp_path):
    model, x = small_model(name=name), requests(64, 4, 5)
    y = (x["candidate_index"] % 2 == x["history_index"][:, :1] % 2).astype(np.float32)
    # As models are trained; Keras would choose XLA.
    model.compile(keras.optimizers.Adam(0.02), jit_compile=False)
    # Few epochs of many steps: to begin an epoch, Keras takes as long as for a dozen of these steps.
    batches = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(64, seed=0).batch(32).repeat().take(25)
    losses = model.fit(batches, epochs=2, shuffle=False, verbose=0).history["loss"]
    assert losses[-1] < 0.9 * losses[0]
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    np.testing.assert_array_equal(to_numpy(loaded(x)), to_numpy(model(x)))
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(to_numpy(clone(x)), to_numpy(model(x)))


def test_needs_neither_profile_nor_context_nor_user(name):
    schema = RankingSchema(
        item_rows=40,
        content_rows=40,
        modalities={"text": ModalitySpec(6)},
        item_codes=(5, 5),
        item_statistics=("impressions", "positives"),
    )
    assert np.isfinite(to_numpy(small_model(schema=schema, name=name)(requests(2, 3, 4)))).all()


def test_compiled_with_unknown_dimensions(name):
    for shape in ((2, 3, 4), (1, 5, 2)):
        x = requests(*shape)
        np.testing.assert_allclose(compiled(name)(x), model_of(name)(x), atol=1e-5)
        if name in COMPILED_BY_XLA and shape == (2, 3, 4):
            np.testing.assert_allclose(compiled(name, jit_compile=True)(x), model_of(name)(x), atol=1e-5)


def test_in_bfloat16_for_serving(name):
    x, model = requests(3, 4, 5), model_of(name)
    assert model.for_serving("float32") is model
    served = model.for_serving("bfloat16")
    logits = served(x)
    assert logits.dtype == tf.float32
    # Eight bits through a few layers; processors without such products round at other places.
    np.testing.assert_allclose(logits, to_numpy(model(x)), rtol=0.03, atol=0.01)
    # The weights themselves, and as copies.
    low = [weight.path for weight in served.weights if weight.dtype == "bfloat16"]
    assert all(any(part in path for part in _DENSE) for path in low)
    assert bool(low) == (name not in ("qin", "two_towers"))
    assert all(weight.dtype != "bfloat16" for weight in model.weights)
    # It is written and read as any model.
    again = type(served).from_config(served.get_config())
    assert again.for_serving("bfloat16") is again
    assert [weight.dtype for weight in again.weights] == [weight.dtype for weight in served.weights]


# Parts of a model that may compute in a lower precision when it is served.
_DENSE = ("head", "branch", "activation_unit", "gate", "experts", "synergy", "cross", "id_projection", "attention")


def test_mixed_bfloat16_is_near_and_in_float32(name):
    x = requests(3, 4, 5)
    expected = to_numpy(model_of(name)(x))
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = small_model(name=name)
        logits = model(x)
        parts = model.score(model.encode_user(x), x)
        model.compile("adam", run_eagerly=True)
        trained = model.train_on_batch(x, np.ones((3, 4), np.float32))
    finally:
        keras.config.set_dtype_policy("float32")
    assert logits.dtype == tf.float32
    np.testing.assert_allclose(logits, expected, atol=0.02)
    np.testing.assert_allclose(parts, logits, atol=1e-5)
    assert np.isfinite(trained).all()
