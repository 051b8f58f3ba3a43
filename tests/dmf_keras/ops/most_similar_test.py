"""Which history items are kept, against NumPy one candidate at a time."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from dmf_keras.ops.most_similar import most_similar

to_numpy = keras.ops.convert_to_numpy


def drawn(batch=3, candidates=6, length=9, modalities=2, seed=0):
    """Cosines of few values, so that there are ties, with missing content, padding and an empty history."""
    rng = np.random.default_rng(seed)
    cosines = [rng.integers(-2, 3, (batch, candidates, length)).astype(np.float32) / 4 for _ in range(modalities)]
    of_candidates = [rng.random((batch, candidates)) < 0.8 for _ in range(modalities)]
    of_history = [rng.random((batch, length)) < 0.7 for _ in range(modalities)]
    for cosine, candidate, history in zip(cosines, of_candidates, of_history, strict=True):
        cosine[~(candidate[:, :, None] & history[:, None])] = 0
    mask = np.arange(length) >= rng.integers(0, length // 2, (batch, 1))
    mask[-1] = False
    return cosines, of_candidates, of_history, mask


def by_numpy(count, cosines, of_candidates, of_history, mask):
    """Sorted similarities of one candidate: what is not smaller than the last of the first `count`."""
    kept = np.zeros(cosines[0].shape, bool)
    for b, n in np.ndindex(kept.shape[:2]):
        similarity = {}
        for j in np.flatnonzero(mask[b]):
            known = [
                cosine[b, n, j]
                for cosine, candidate, history in zip(cosines, of_candidates, of_history, strict=True)
                if candidate[b, n] and history[b, j]
            ]
            similarity[j] = np.mean(known) if known else -np.inf
        first = sorted(similarity.values(), reverse=True)[:count]
        for j, value in similarity.items():
            kept[b, n, j] = value >= first[-1]
    return kept


@pytest.mark.parametrize("modalities", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 4, 8, 9, 50])
def test_equals_numpy(count, modalities):
    for seed in range(5):
        arguments = drawn(modalities=modalities, seed=seed)
        kept = to_numpy(most_similar(count, *arguments))
        np.testing.assert_array_equal(kept, by_numpy(count, *arguments))
        assert not kept[-1].any(), "an empty history"


def test_ties_are_kept_and_a_candidate_without_content_keeps_everything():
    cosines = [np.array([[[0.5, 0.9, 0.5, 0.1, 0.0], [0.0] * 5]], np.float32)]
    present, history = [np.array([[True, False]])], [np.array([[True, True, True, True, False]])]
    mask = np.ones((1, 5), bool)
    kept = to_numpy(most_similar(2, cosines, present, history, mask))
    assert kept[0].tolist() == [[True, True, True, False, False], [True] * 5]
    # The item without content is the last to be kept, however low the cosines of the others are.
    below = [cosines[0] - 1]
    assert to_numpy(most_similar(4, below, present, history, mask))[0, 0].tolist() == [True] * 4 + [False]


def test_the_order_of_the_history_does_not_matter():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(40, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    # Items that are there several times tie exactly, wherever they stand: the products are those of this library.
    index = rng.integers(0, 40, 300)
    order = rng.permutation(300)
    candidates = vectors[None, :33]

    def kept(places):
        cosines = keras.ops.matmul(candidates, keras.ops.transpose(vectors[places][None], (0, 2, 1)))
        present = [np.ones((1, 33), bool)], [np.ones((1, 300), bool)]
        return to_numpy(most_similar(20, [cosines], *present, np.ones((1, 300), bool)))[0]

    np.testing.assert_array_equal(kept(index[order]), kept(index)[:, order])
    # All of an item, or none of it.
    by_item = kept(index)
    for item in range(40):
        assert np.ptp(by_item[:, index == item].astype(int), axis=1).max(initial=0) == 0
