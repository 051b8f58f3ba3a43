from __future__ import annotations

import math

import keras
import numpy as np
import pytest

from dmf_keras.layers import AgeEmbedding
from dmf_keras.ops.bucketing import age_edges
from dmf_keras.testing import check_layer

to_numpy = keras.ops.convert_to_numpy
NAN = float("nan")
DAY, YEAR = 86_400.0, 31_536_000.0
AGES = np.array([[0.0, 59.9, 60.0, 3600.0], [DAY, YEAR, 1e12, NAN]], np.float32)


@pytest.mark.parametrize("buckets", [3, 4, 16, 100])
def test_edges_are_from_a_minute_to_a_year_each_the_same_multiple(buckets):
    edges = age_edges(buckets).astype(np.float64)
    assert len(edges) == buckets - 1
    assert (edges[0], edges[-1]) == (60.0, YEAR)
    np.testing.assert_allclose(edges[1:] / edges[:-1], 525_600 ** (1 / (buckets - 2)), rtol=1e-6)


@pytest.mark.parametrize("buckets", [3, 16])
def test_equals_numpy(buckets):
    layer = AgeEmbedding(buckets, 5)
    found = to_numpy(layer(AGES))
    edges = [60 * 525_600 ** (i / (buckets - 2)) for i in range(buckets - 1)]
    ids = [[0 if math.isnan(a) else 1 + sum(np.float32(e) <= a for e in edges) for a in row] for row in AGES]
    assert to_numpy(layer.bucket_ids(AGES)).tolist() == ids
    assert ids[0][:3] == [1, 1, 2] and ids[1][1:] == [buckets, buckets, 0]
    assert to_numpy(layer.table).shape == (buckets + 1, 5)
    np.testing.assert_array_equal(found, to_numpy(layer.table)[np.array(ids)])


def test_layer_checks(tmp_path):
    check_layer(lambda **kw: AgeEmbedding(6, 3, **kw), {"ages": AGES}, lambda made, x: made(x["ages"]), tmp_path)


def test_float16_is_no_age():
    layer = AgeEmbedding(16, 4, dtype="mixed_float16")
    assert to_numpy(layer(AGES)).dtype == np.float16
    assert to_numpy(layer.bucket_ids(AGES)).tolist() == to_numpy(AgeEmbedding(16, 4).bucket_ids(AGES)).tolist()


def test_empty():
    assert to_numpy(AgeEmbedding(4, 3)(np.zeros((2, 0), np.float32))).shape == (2, 0, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"buckets": 2}, "at least 3.* Received: 2"), ({"buckets": 0}, "buckets"), ({"dim": 0}, "dim")],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        AgeEmbedding(**options)


def test_refuses_ages_that_are_integers():
    with pytest.raises(ValueError, match="ages"):
        AgeEmbedding()(np.array([[60]]))
