from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmf_keras.layers import SimilarityBuckets
from dmf_keras.ops import equal_width_edges
from dmf_keras.testing import check_layer

to_numpy = keras.ops.convert_to_numpy
QUARTERS = [-0.4, 0.1, 0.5]


def _inputs(batch=3, candidates=4, history=5, width=6, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "candidates": rng.normal(size=(batch, candidates, width)).astype(np.float32),
        "history": rng.normal(size=(batch, history, width)).astype(np.float32),
        "candidates_present": rng.random((batch, candidates)) < 0.7,
        "history_present": rng.random((batch, history)) < 0.7,
    }


def _reference(candidates, history, candidates_present, history_present, edges):
    ids = np.full((*candidates.shape[:2], history.shape[1]), len(edges) + 1)
    for b, n, j in np.ndindex(ids.shape):
        if candidates_present[b, n] and history_present[b, j]:
            one, other = candidates[b, n].astype(float), history[b, j].astype(float)
            cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
            ids[b, n, j] = sum(cosine >= edge for edge in edges)
    return ids


@pytest.mark.parametrize(("layer", "edges"), [
    (SimilarityBuckets(7), equal_width_edges(7)),
    (SimilarityBuckets(4, edges=QUARTERS), QUARTERS),
])  # fmt: skip
def test_equals_the_definition(layer, edges):
    inputs = _inputs(candidates=20, history=30)
    ids = layer(**inputs)
    assert keras.backend.standardize_dtype(ids.dtype) == "int32"
    np.testing.assert_array_equal(to_numpy(ids), _reference(**inputs, edges=edges))


def test_same_vector_is_in_the_last_bucket_and_opposite_in_the_first():
    vectors = np.random.default_rng(0).normal(size=(1, 200, 384)).astype(np.float32)
    layer = SimilarityBuckets(35)
    assert set(np.diagonal(to_numpy(layer(vectors, vectors))[0])) == {34}
    assert set(np.diagonal(to_numpy(layer(vectors, -vectors))[0])) == {0}


@pytest.mark.parametrize("edges", ["equal", [-1.0, -0.5, 0.5]])
def test_minus_one_and_one_exactly(edges):
    """Buckets are closed on the left: an edge at -1 is at or below all similarities, opposite vectors included."""
    one, other = np.array([[[1.0, 0.0]]], np.float32), np.array([[[3.0, 0.0], [-3.0, 0.0]]], np.float32)
    first = 0 if edges == "equal" else 1
    assert to_numpy(SimilarityBuckets(4, edges)(one, other)).tolist() == [[[3, first]]]
    assert to_numpy(SimilarityBuckets(2, [1.0])(one, other)).tolist() == [[[1, 0]]]


@pytest.mark.parametrize("scale", [1.0, 1.0 + 1e-6])
def test_rounding_beyond_one_changes_no_bucket(scale):
    """Vectors that are said to be of unit length and are a little longer."""
    vectors = np.random.default_rng(0).normal(size=(1, 200, 384))
    vectors = (scale * vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)
    for edges, first in (("equal", 0), ([-1.0, 0.0, 0.9], 1)):
        layer = SimilarityBuckets(4, edges, normalize=False)
        assert set(np.diagonal(to_numpy(layer(vectors, vectors))[0])) == {3}
        assert set(np.diagonal(to_numpy(layer(vectors, -vectors))[0])) == {first}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.booleans())
def test_properties(seed, buckets, given_edges):
    """Ids are in range, rise with the similarity, and those of a pair do not depend on other pairs or their order."""
    inputs = _inputs(seed=seed)
    rng = np.random.default_rng(seed)
    edges = np.sort(rng.uniform(-1, 1, buckets - 1)).tolist() if given_edges else "equal"
    layer = SimilarityBuckets(buckets, edges)
    ids, similarity = to_numpy(layer(**inputs)), to_numpy(layer.similarities(inputs["candidates"], inputs["history"]))
    present = inputs["candidates_present"][:, :, None] & inputs["history_present"][:, None]
    assert (ids[~present] == buckets).all()
    assert ((ids[present] >= 0) & (ids[present] < buckets)).all()
    assert (np.diff(ids[present][np.argsort(similarity[present], kind="stable")]) >= 0).all()

    order, items = rng.permutation(4), rng.permutation(5)
    moved = layer(
        np.pad(inputs["candidates"][:, order], ((0, 0), (0, 2), (0, 0)), constant_values=7),
        np.pad(inputs["history"][:, items], ((0, 0), (0, 3), (0, 0)), constant_values=7),
        np.pad(inputs["candidates_present"][:, order], ((0, 0), (0, 2))),
        np.pad(inputs["history_present"][:, items], ((0, 0), (0, 3)), constant_values=True),
    )
    distance = np.abs(similarity[..., None] - (edges if given_edges else equal_width_edges(buckets)))
    clear = (distance > 1e-5).all(-1)[:, order][:, :, items]  # next to an edge rounding may decide
    np.testing.assert_array_equal(to_numpy(moved)[:, :4, :5][clear], ids[:, order][:, :, items][clear])


@pytest.mark.parametrize(("candidates", "history"), [(1, 1), (2000, 1), (1, 1000)])
def test_extreme_sizes(candidates, history):
    inputs = _inputs(2, candidates, history)
    ids = to_numpy(SimilarityBuckets(35)(**inputs))
    assert ids.shape == (2, candidates, history)
    assert ids.min() >= 0 and ids.max() <= 35


def test_length_of_vectors_does_not_matter_unless_said_to_be_one():
    inputs = _inputs()
    longer = {**inputs, "candidates": inputs["candidates"] * 1000}
    np.testing.assert_array_equal(to_numpy(SimilarityBuckets(9)(**longer)), to_numpy(SimilarityBuckets(9)(**inputs)))
    unit = {**inputs}
    for name in ("candidates", "history"):
        unit[name] = inputs[name] / np.linalg.norm(inputs[name], axis=-1, keepdims=True)
    plain = SimilarityBuckets(9, normalize=False)
    np.testing.assert_array_equal(to_numpy(plain(**unit)), to_numpy(SimilarityBuckets(9)(**inputs)))


def test_no_content_on_one_side_is_a_bucket_of_its_own():
    inputs = _inputs()
    layer = SimilarityBuckets(5)
    inputs["candidates_present"][:] = False
    assert (to_numpy(layer(**inputs)) == 5).all()
    zero = np.zeros_like(inputs["candidates"])
    assert (to_numpy(layer(zero, inputs["history"])) == 2).all(), "a cosine of 0 is not missing content"


def test_mixed_precision_changes_no_bucket():
    inputs = _inputs(candidates=50, history=50, width=64)
    low = SimilarityBuckets(35, dtype="mixed_bfloat16")
    np.testing.assert_array_equal(to_numpy(low(**inputs)), to_numpy(SimilarityBuckets(35)(**inputs)))


def test_adapted_edges_fill_buckets_evenly_and_are_saved(tmp_path):
    inputs = _inputs(batch=8, candidates=20, history=40)
    inputs["candidates_present"][:] = inputs["history_present"][:] = True
    layer = SimilarityBuckets(4, edges="quantile")
    assert not layer.adapted
    layer.adapt(to_numpy(layer.similarities(inputs["candidates"], inputs["history"])))
    assert layer.adapted
    ids = to_numpy(layer(**inputs))
    np.testing.assert_allclose(np.bincount(ids.ravel()) / ids.size, 0.25, atol=0.01)

    symbolic = {name: keras.Input(array.shape[1:], dtype=str(array.dtype), name=name) for name, array in inputs.items()}
    keras.Model(symbolic, layer(**symbolic)).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(to_numpy(loaded(inputs)), ids)


def test_equal_edges_cannot_be_adapted():
    with pytest.raises(ValueError, match='Received: "equal"'):
        SimilarityBuckets(4).adapt(np.array([0.1, 0.2]))


@pytest.mark.parametrize("edges", ["equal", QUARTERS])
def test_layer_checks(edges, tmp_path):
    check_layer(partial(SimilarityBuckets, 4, edges=edges), _inputs(), lambda layer, x: layer(**x), tmp_path)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"buckets": 0}, "`buckets` must be an integer of at least 1. Received: 0"),
    ({"buckets": -3}, "`buckets` must be an integer of at least 1. Received: -3"),
    ({"buckets": 2.5}, "Received: 2.5"),
    ({"edges": "log"}, "Received: 'log'"),
    ({"buckets": 4, "edges": [0.5, 0.1, 0.7]}, "3 finite ascending inner edges for 4 buckets"),
    ({"buckets": 4, "edges": [0.5]}, r"Received: \[0.5\]"),
])  # fmt: skip
def test_refuses_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        SimilarityBuckets(**arguments)


@pytest.mark.parametrize(("changed", "message"), [
    ({"candidates": np.zeros((3, 6))}, r"`candidates` must have shape \(batch, candidates, width\).*\(3, 6\)"),
    ({"history": np.zeros((3, 5, 7))}, r"`history` must have 6 in dimension 2.*\(3, 5, 7\)"),
    ({"history_present": np.ones((3, 4), bool)}, r"`history_present` must have 5 in dimension 1.*\(3, 4\)"),
    ({"candidates_present": np.ones((3, 5), bool)}, r"`candidates_present` must have 4 in dimension 1.*\(3, 5\)"),
    ({"history_present": np.ones((3, 5))}, r"must be of dtype bool. Received: dtype float"),
])  # fmt: skip
def test_refuses_inputs(changed, message):
    with pytest.raises(ValueError, match=message):
        SimilarityBuckets(4)(**{**_inputs(), **changed})
