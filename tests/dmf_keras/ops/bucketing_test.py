from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmf_keras.ops import (
    bucketize,
    equal_width_buckets,
    equal_width_edges,
    gather_by_bucket,
    quantile_edges,
    sum_by_bucket,
)

to_numpy = keras.ops.convert_to_numpy


@pytest.mark.parametrize("buckets", [1, 2, 3, 20, 35])
def test_ends_and_beyond(buckets):
    beyond = np.array([-1.0000002, -1.0, 1.0, 1.0000002], np.float32)
    ids = to_numpy(equal_width_buckets(beyond, buckets))
    np.testing.assert_array_equal(ids, [0, 0, buckets - 1, buckets - 1])
    np.testing.assert_array_equal(to_numpy(bucketize(beyond, equal_width_edges(buckets))), ids)
    assert ids.dtype == np.int32


@pytest.mark.parametrize("buckets", [2, 4, 32])
def test_closed_on_the_left(buckets):
    """Powers of two, whose edges float32 holds exactly."""
    edges = equal_width_edges(buckets)
    below = edges - np.float32(1e-6)
    for bucketing in (lambda s: equal_width_buckets(s, buckets), lambda s: bucketize(s, edges)):
        np.testing.assert_array_equal(to_numpy(bucketing(edges)), np.arange(1, buckets))
        np.testing.assert_array_equal(to_numpy(bucketing(below)), np.arange(buckets - 1))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_equal_width_is_explicit_edges_of_equal_width(buckets, seed):
    similarity = np.random.default_rng(seed).uniform(-1.01, 1.01, (3, 7)).astype(np.float32)
    edges = equal_width_edges(buckets)
    away = np.abs(similarity[..., None] - edges).min(-1, initial=1) > 1e-6
    one, other = to_numpy(equal_width_buckets(similarity, buckets)), to_numpy(bucketize(similarity, edges))
    np.testing.assert_array_equal(one[away], other[away])
    assert np.abs(one - other).max() <= 1


def test_bucketize_counts_edges_at_or_below():
    edges = np.array([-0.5, 0.1, 0.1, 0.7], np.float32)
    similarity = np.array([[-0.6, -0.5, 0.0], [0.1, 0.69, 0.7]], np.float32)
    np.testing.assert_array_equal(to_numpy(bucketize(similarity, edges)), [[0, 1, 1], [3, 3, 4]])


def test_quantile_edges_fill_buckets_evenly():
    samples = np.random.default_rng(0).normal(0.6, 0.05, 10_000)
    ids = to_numpy(bucketize(samples.astype(np.float32), quantile_edges(samples, 8)))
    np.testing.assert_allclose(np.bincount(ids, minlength=8) / 10_000, 1 / 8, atol=0.01)


@pytest.mark.parametrize(("samples", "received"), [([], "0 samples"), ([0.1, np.nan], "1 not finite")])
def test_quantile_edges_refuse(samples, received):
    with pytest.raises(ValueError, match=received):
        quantile_edges(np.array(samples), 4)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 5), st.integers(1, 8), st.integers(1, 6))
def test_gather_and_sum_are_those_of_a_loop(seed, batch, candidates, length, size):
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(batch, candidates, size)).astype(np.float32)
    weights = rng.normal(size=(batch, candidates, length)).astype(np.float32)
    ids = rng.integers(0, size, (batch, candidates, length)).astype(np.int32)
    np.testing.assert_array_equal(to_numpy(gather_by_bucket(table, ids)), np.take_along_axis(table, ids, -1))
    expected = np.zeros((batch, candidates, size))
    for b, n, j in np.ndindex(ids.shape):
        expected[b, n, ids[b, n, j]] += weights[b, n, j]
    np.testing.assert_allclose(to_numpy(sum_by_bucket(weights, ids, size)), expected, atol=1e-5)


class _SumThenGather(keras.layers.Layer):
    def call(self, weights, ids):
        return gather_by_bucket(sum_by_bucket(weights, ids, 4), ids)


def test_gather_and_sum_with_unknown_dimensions_compile():
    unknown = (None, None, None)
    inputs = [keras.Input(batch_shape=unknown), keras.Input(batch_shape=unknown, dtype="int32")]
    model = keras.Model(inputs, _SumThenGather()(*inputs))
    model.compile(jit_compile=True)
    for ids, expected in (
        ([[[0, 3, 3]], [[1, 1, 1]]], [[[1, 2, 2]], [[3, 3, 3]]]),
        ([[[2, 0], [1, 1], [0, 3]]], [[[1, 1], [2, 2], [1, 1]]]),
    ):
        ids = np.array(ids, np.int32)
        np.testing.assert_array_equal(model.predict_on_batch([np.ones(ids.shape, np.float32), ids]), expected)
