from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmf_keras.layers import ContentEmbedding
from dmf_keras.layers.content_embedding import STORAGE_DTYPES
from dmf_keras.testing import check_layer

to_numpy = keras.ops.convert_to_numpy
MATRIX = np.array([[9, 9], [3, 4], [0, 0], [0, 2], [-1, 0]], np.float32)


def _filled(storage_dtype="float16", **kwargs):
    layer = ContentEmbedding(5, 2, storage_dtype, **kwargs)
    layer.set_rows(MATRIX)
    return layer


@pytest.mark.parametrize(("storage_dtype", "tolerance"), [("int8", 3e-3), ("float16", 5e-4), ("float32", 1e-6)])
def test_vectors_have_unit_length_and_missing_is_a_state(storage_dtype, tolerance):
    vectors, present = _filled(storage_dtype)(np.array([[1, 0], [2, 4]]))
    np.testing.assert_allclose(to_numpy(vectors), [[[0.6, 0.8], [0, 0]], [[0, 0], [-1, 0]]], atol=tolerance)
    np.testing.assert_array_equal(to_numpy(present), [[True, False], [False, True]])
    assert keras.backend.standardize_dtype(vectors.dtype) == "float32"


def _bytes(storage_dtype, rows=50, dim=384):
    layer = ContentEmbedding(rows, dim, storage_dtype)
    layer.build()
    return sum(to_numpy(weight).nbytes for weight in layer.weights)


def test_int8_takes_half_the_memory_of_float16():
    assert _bytes("int8") == 50 * (384 + 4 + 1)
    assert _bytes("int8") / _bytes("float16") < 0.51
    assert _bytes("float16") / _bytes("float32") < 0.51


@pytest.mark.parametrize("storage_dtype", STORAGE_DTYPES)
def test_rows_are_stored_as_asked_and_never_trained(storage_dtype):
    layer = _filled(storage_dtype)
    assert keras.backend.standardize_dtype(layer.table.dtype) == storage_dtype
    assert layer.trainable_weights == []
    assert len(layer.weights) == (3 if storage_dtype == "int8" else 2)


def _turned(vectors, storage_dtype):
    """The vectors as they come out of a table of that type."""
    layer = ContentEmbedding(len(vectors) + 1, vectors.shape[1], storage_dtype)
    layer.set_rows(np.concatenate([np.zeros_like(vectors[:1]), vectors]))
    return to_numpy(layer(np.arange(1, len(vectors) + 1))[0]).astype(float)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 64]), st.floats(0.1, 8), st.floats(-15, 15))
def test_int8_turns_a_vector_by_no_more_than_its_bound(seed, dim, tail, magnitude):
    rng = np.random.default_rng(seed)
    drawn = rng.normal(size=(20, dim))
    vectors = np.sign(drawn) * np.abs(drawn) ** tail * 10**magnitude  # a long tail: few large values and many small
    stored = _turned(vectors, "int8")
    np.testing.assert_allclose(np.linalg.norm(stored, axis=1), 1, atol=1e-6)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    angle = np.arcsin(np.minimum(np.abs(unit).max(1) * np.sqrt(dim) / 254, 1))
    moved = np.abs(stored @ stored.T - unit @ unit.T)
    assert (moved <= angle[:, None] + angle + 1e-6).all()


@pytest.mark.parametrize(("storage_dtype", "usual", "most"), [
    ("int8", 6e-4, 3e-3),
    ("float16", 1e-4, 1e-3),
    ("float32", 1e-7, 1e-6),
])  # fmt: skip
def test_cosines_of_usual_vectors_stay(storage_dtype, usual, most):
    vectors = np.random.default_rng(0).normal(size=(300, 384))
    stored = _turned(vectors, storage_dtype)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    moved = np.abs(stored @ stored.T - unit @ unit.T)
    assert moved.max() < most
    assert np.sqrt(np.mean(moved**2)) < usual


@pytest.mark.parametrize("storage_dtype", STORAGE_DTYPES)
def test_a_trained_and_saved_model_follows_new_rows(storage_dtype, tmp_path):
    rng = np.random.default_rng(0)
    old, new = rng.normal(size=(2, 6, 4))
    layer = ContentEmbedding(6, 4, storage_dtype, name="content")
    rows = keras.Input((None,), dtype="int32")
    vectors, present = layer(rows)
    score = keras.layers.Dense(1, name="score")(vectors)
    model = keras.Model(rows, keras.ops.where(keras.ops.expand_dims(present, -1), score, 0.0))
    layer.set_rows(old)
    model.compile("sgd", "mse")
    ids = np.array([[1, 2, 3, 4, 5, 0]])
    model.fit(ids, np.ones((1, 6, 1)), epochs=3, verbose=0)
    model.save(tmp_path / "model.keras")

    loaded = keras.models.load_model(tmp_path / "model.keras")
    before = loaded.predict(ids, verbose=0)
    np.testing.assert_allclose(before, model.predict(ids, verbose=0), atol=1e-6)
    trained = [to_numpy(weight).copy() for weight in loaded.trainable_weights]
    loaded.get_layer("content").set_rows(new)
    after = loaded.predict(ids, verbose=0)
    kernel, bias = trained
    unit = new / np.linalg.norm(new, axis=1, keepdims=True)
    np.testing.assert_allclose(after[0, :5], unit[1:] @ kernel + bias, atol=0.02)
    assert np.abs(after - before)[0, :5].max() > 0.05
    assert after[0, 5] == 0, "row 0 has no content, whatever is given"
    for weight, value in zip(loaded.trainable_weights, trained, strict=True):
        np.testing.assert_array_equal(to_numpy(weight), value)


@pytest.mark.parametrize(("storage_dtype", "tolerance"), [("int8", 3e-3), ("float32", 1e-6)])
def test_vectors_stay_float32_under_mixed_precision(storage_dtype, tolerance):
    vectors, _ = _filled(storage_dtype, dtype="mixed_bfloat16")(np.array([1]))
    assert keras.backend.standardize_dtype(vectors.dtype) == "float32"
    np.testing.assert_allclose(to_numpy(vectors), [[0.6, 0.8]], atol=tolerance)


@pytest.mark.parametrize("storage_dtype", STORAGE_DTYPES)
def test_rows_can_be_replaced_and_fewer_leave_the_rest_empty(storage_dtype):
    layer = _filled(storage_dtype)
    layer.set_rows(np.array([[0, 0], [0, -5]]))
    vectors, present = layer(np.arange(5))
    np.testing.assert_array_equal(to_numpy(present), [False, True, False, False, False])
    np.testing.assert_allclose(to_numpy(vectors)[1], [0, -1], atol=1e-6)
    assert not to_numpy(vectors)[2:].any()


def test_given_presence_wins():
    layer = ContentEmbedding(5, 2, "int8")
    layer.set_rows(MATRIX, np.array([True, True, False, False, True]))
    vectors, present = layer(np.arange(5))
    np.testing.assert_array_equal(to_numpy(present), [False, True, False, False, True])
    assert not to_numpy(vectors)[3].any()


@pytest.mark.parametrize("storage_dtype", STORAGE_DTYPES)
def test_layer_checks(storage_dtype, tmp_path):
    check_layer(
        partial(_filled, storage_dtype),
        {"rows": np.array([[1, 0], [2, 4]])},
        lambda layer, x: layer(x["rows"]),
        tmp_path,
    )


@pytest.mark.parametrize(("matrix", "present", "message"), [
    (np.zeros((5, 3)), None, r"shape \(1 to 5, 2\). Received: \(5, 3\)"),
    (np.zeros((6, 2)), None, r"Received: \(6, 2\).*larger `content_rows`"),
    (np.array([[0, 0], [1, np.nan]]), None, "must be finite. Received: row 1 is not"),
    (MATRIX, np.ones(4, bool), r"must be bool \(5,\). Received: bool \(4,\)"),
    (MATRIX, np.ones(5), "Received: float64"),
    (MATRIX, np.ones(5, bool), "must not be a zero vector. Received: row 2"),
])  # fmt: skip
def test_refuses_rows(matrix, present, message):
    with pytest.raises(ValueError, match=message):
        ContentEmbedding(5, 2).set_rows(matrix, present)


@pytest.mark.parametrize("arguments", [(0, 2), (5, 0), (5, 2, "int4")])
def test_refuses_arguments(arguments):
    with pytest.raises(ValueError, match=f"Received: {arguments[-1]!r}|Received: 0"):
        ContentEmbedding(*arguments)


def test_refuses_rows_that_are_not_integers():
    with pytest.raises(ValueError, match=r"`rows` must be of dtype int. Received: dtype float32"):
        _filled()(np.zeros((2, 2), np.float32))
