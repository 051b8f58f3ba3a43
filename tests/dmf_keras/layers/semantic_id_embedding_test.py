from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest

from dmf_keras.layers import SemanticIdEmbedding
from dmf_keras.testing import check_layer

to_numpy = keras.ops.convert_to_numpy
SIZES, ROWS, DIM = [3, 4, 2], 9, 5


def codes(seed: int = 0) -> np.ndarray:
    """Codes of all rows but 0 and 4."""
    found = np.random.default_rng(seed).integers(1, np.array(SIZES) + 1, (ROWS, 3))
    found[[0, 4]] = 0
    return found


def made(pair_rows: int = 100, **kwargs):
    layer = SemanticIdEmbedding(ROWS, SIZES, DIM, pair_rows, **kwargs)
    layer.set_rows(codes())
    rng = np.random.default_rng(1)
    for weight in layer.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer


def by_definition(layer, row: int) -> tuple[np.ndarray, np.ndarray]:
    """One item from its codes and the weights: levels, then pairs of adjacent ones, each with a block of rows."""
    embeddings, queries, bias = (to_numpy(weight) for weight in layer.trainable_weights)
    s1, s2, s3 = codes()[row] - 1
    blocks = np.split(embeddings, np.cumsum([3, 4, 2, 12]))
    e = np.stack([blocks[0][s1], blocks[1][s2], blocks[2][s3], blocks[3][4 * s1 + s2], blocks[4][2 * s2 + s3]])
    logits = (queries * e).sum(axis=1) + bias
    weights = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    return weights @ e, weights


def test_equals_the_definition():
    layer = made()
    assert layer.resolutions == 5
    rows = np.array([[1, 2, 3, 5], [6, 7, 8, 1]])
    vectors, present, weights = (to_numpy(each) for each in layer(rows, return_weights=True))
    assert present.all()
    for place, row in np.ndenumerate(rows):
        vector, weight = by_definition(layer, row)
        np.testing.assert_allclose(vectors[place], vector, atol=1e-5)
        np.testing.assert_allclose(weights[place], weight, atol=1e-5)


def test_items_without_codes_are_zeros_in_value_and_gradient():
    layer = made()
    vectors, present = (to_numpy(each) for each in layer(np.array([[0, 4, 1]])))
    assert present.tolist() == [[False, False, True]]
    assert not vectors[0, :2].any() and vectors[0, 2].all()


def test_before_training_all_resolutions_weigh_the_same():
    layer = SemanticIdEmbedding(ROWS, SIZES, DIM)
    layer.set_rows(codes())
    *_, weights = layer(np.array([1, 2]), return_weights=True)
    np.testing.assert_allclose(to_numpy(weights), 0.2, atol=1e-6)


def test_pairs_beyond_their_rows_share_them_by_a_hash_that_stays():
    layer = made(pair_rows=5)
    assert len(to_numpy(layer.embeddings)) == 3 + 4 + 2 + 5 + 5
    tables = [to_numpy(one.table) for one in (layer, made(pair_rows=5))]
    np.testing.assert_array_equal(*tables)
    pairs = tables[0][:, 3:]
    assert pairs.max() <= 5 and (pairs[codes()[:, 0] > 0] > 0).all() and not pairs[[0, 4]].any()
    same = (codes()[:, None, :2] == codes()[None, :, :2]).all(axis=2)
    assert (pairs[:, None, 0] == pairs[None, :, 0])[same].all()
    # Of Knuth's hash, by hand: codes 3 and 4 are pair 11.
    one = SemanticIdEmbedding(2, [3, 4], DIM, pair_rows=5)
    one.set_rows(np.array([[0, 0], [3, 4]]))
    assert to_numpy(one.table)[1, 2] == 11 * 2_654_435_761 % 2**32 % 5 + 1


def test_one_level_has_one_resolution():
    layer = SemanticIdEmbedding(3, [4], DIM)
    layer.set_rows(np.array([[0], [4], [2]]))
    vectors, present = layer(np.array([1, 2, 0]))
    np.testing.assert_allclose(to_numpy(vectors)[:2], to_numpy(layer.embeddings)[[3, 1]], atol=1e-6)
    assert to_numpy(present).tolist() == [True, True, False]


@pytest.mark.parametrize("pair_rows", [100, 5])
def test_layer_checks(pair_rows, tmp_path):
    inputs = {"rows": np.array([[0, 1, 4], [2, 3, 8]], np.int32)}
    check_layer(partial(made, pair_rows), inputs, lambda layer, x: layer(x["rows"]), tmp_path)


@pytest.mark.parametrize(("given", "message"), [
    (np.zeros((3, 2), int), r"must be int \(1 to 9, 3\). Received: int64 \(3, 2\)"),
    (np.zeros((10, 3), int), r"Received: int64 \(10, 3\)"),
    (np.zeros((3, 3)), "Received: float64"),
    (np.array([[0, 0, 0], [4, 1, 1]]), r"from 0 to \[3, 4, 2\] by level. Received: up to \[4, 1, 1\]"),
    (np.array([[0, 0, 0], [1, -1, 1]]), r"from \[0, -1, 0\]"),
    (np.array([[0, 0, 0], [1, 0, 1]]), "at all levels or at none"),
])  # fmt: skip
def test_refuses_codes(given, message):
    with pytest.raises(ValueError, match=message):
        made().set_rows(given)


def test_refuses_arguments_and_inputs():
    with pytest.raises(ValueError, match=r"`sizes` must name at least one layer"):
        SemanticIdEmbedding(3, [])
    with pytest.raises(ValueError, match=r"`pair_rows` must be an integer of at least 1. Received: 0"):
        SemanticIdEmbedding(3, [2], pair_rows=0)
    with pytest.raises(ValueError, match=r"`rows` must be of dtype int"):
        made()(np.zeros((1, 2), np.float32))
