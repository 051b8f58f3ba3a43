from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmf_keras.layers import SimilarityHistogram
from dmf_keras.testing import check_layer

to_numpy = keras.ops.convert_to_numpy
BUCKETS = 4


def _inputs(batch=3, candidates=4, history=6):
    rng = np.random.default_rng(0)
    mask = rng.random((batch, history)) < 0.7
    mask[0] = False
    ids = rng.integers(0, BUCKETS + 1, (batch, candidates, history)).astype(np.int32)
    return {"ids": ids, "history_mask": mask}


def _counts(ids, history_mask):
    counts = np.zeros((*ids.shape[:2], BUCKETS + 1))
    for b, n, j in np.ndindex(ids.shape):
        counts[b, n, ids[b, n, j]] += history_mask[b, j]
    return counts


@pytest.mark.parametrize(("scaling", "scale"), [
    ("raw", lambda c: c),
    ("log1p", np.log1p),
    ("l1", lambda c: c / np.maximum(c.sum(-1, keepdims=True), 1)),
])  # fmt: skip
def test_equals_the_definition(scaling, scale):
    inputs = _inputs()
    histogram = to_numpy(SimilarityHistogram(BUCKETS, scaling)(**inputs))
    np.testing.assert_allclose(histogram, scale(_counts(**inputs)), atol=1e-6)
    assert not histogram[0].any(), "an empty history has an empty histogram"


def test_counts_the_missing_bucket_and_everything_once():
    inputs = _inputs()
    histogram = to_numpy(SimilarityHistogram(BUCKETS, "raw")(**inputs))
    np.testing.assert_array_equal(histogram.sum(-1), inputs["history_mask"].sum(-1, keepdims=True).repeat(4, 1))
    assert histogram[..., BUCKETS].any()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 5]), st.sampled_from([0, 3]))
def test_padding_order_and_other_candidates_change_nothing(seed, more_history, more_candidates):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, BUCKETS + 1, (3, 4, 6)).astype(np.int32)
    mask = rng.random((3, 6)) < rng.random()
    histogram = to_numpy(SimilarityHistogram(BUCKETS, "raw")(ids, mask))
    np.testing.assert_array_equal(histogram.sum(-1), np.repeat(mask.sum(1)[:, None], 4, 1))
    order, items = rng.permutation(4), rng.permutation(6)
    padded = np.pad(
        ids[:, order][:, :, items], ((0, 0), (0, more_candidates), (0, more_history)), constant_values=BUCKETS
    )
    padded_mask = np.pad(mask[:, items], ((0, 0), (0, more_history)))
    changed = to_numpy(SimilarityHistogram(BUCKETS, "raw")(padded, padded_mask))
    np.testing.assert_array_equal(changed[:, :4], histogram[:, order])


@pytest.mark.parametrize(("candidates", "history"), [(1, 1), (2000, 1), (1, 1000)])
def test_extreme_sizes(candidates, history):
    histogram = to_numpy(SimilarityHistogram(BUCKETS)(**_inputs(2, candidates, history)))
    assert histogram.shape == (2, candidates, BUCKETS + 1)
    assert np.isfinite(histogram).all()


def test_counts_are_exact_under_mixed_precision():
    """bfloat16 counts to 256; the layer sums in float32 and rounds once."""
    layer = SimilarityHistogram(1, "raw", dtype="mixed_bfloat16")
    counts = keras.ops.cast(layer(np.zeros((1, 1, 1024), np.int32), np.ones((1, 1024), bool)), "float32")
    assert to_numpy(counts).tolist() == [[[1024.0, 0.0]]]


@pytest.mark.parametrize("scaling", ["raw", "log1p", "l1"])
def test_layer_checks(scaling, tmp_path):
    check_layer(partial(SimilarityHistogram, BUCKETS, scaling), _inputs(), lambda layer, x: layer(**x), tmp_path)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"buckets": -1}, "Received: -1"),
    ({"scaling": "sqrt"}, "must be one of raw, log1p, l1. Received: 'sqrt'"),
])  # fmt: skip
def test_refuses_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        SimilarityHistogram(**arguments)


@pytest.mark.parametrize(("changed", "message"), [
    ({"ids": np.zeros((3, 4, 6), np.float32)}, "`ids` must be of dtype int. Received: dtype float32"),
    ({"history_mask": np.ones((3, 6), np.int32)}, "`history_mask` must be of dtype bool. Received: dtype int32"),
    ({"history_mask": np.ones((3, 5), bool)}, r"must have 6 in dimension 1.*\(3, 5\)"),
])  # fmt: skip
def test_refuses_inputs(changed, message):
    with pytest.raises(ValueError, match=message):
        SimilarityHistogram(BUCKETS)(**{**_inputs(), **changed})
