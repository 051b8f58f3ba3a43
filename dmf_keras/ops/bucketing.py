"""Similarity to bucket, and sums and look-ups by bucket.

The one edge rule of the library: buckets are closed on the left and open on the right; what lies on or beyond the last
edge is in the last bucket, what lies below the first is in the first. With S buckets the ids are 0 to S - 1, and id S
means that there is no similarity because one side has no content.
"""

from __future__ import annotations

import math

import keras
import numpy as np
from keras import ops

from dmf_keras.types import Tensor

if keras.backend.backend() == "tensorflow":
    from dmf_keras.ops.tensorflow_kernels import sum_flat, take_flat
else:
    from dmf_keras.ops.portable_kernels import sum_flat, take_flat


_MINUTE_S, _YEAR_MINUTES = 60.0, 525_600.0


def equal_width_edges(buckets: int) -> np.ndarray:
    """The S - 1 inner edges, float32, of S equal-width buckets of [-1, 1]."""
    return np.linspace(-1.0, 1.0, buckets + 1)[1:-1].astype(np.float32)


def quantile_edges(samples: np.ndarray, buckets: int) -> np.ndarray:
    """The S - 1 inner edges, float32, between which `samples` spread evenly; equal samples may give equal edges.

    Raises:
        ValueError: no samples, or samples that are not finite.
    """
    samples = np.asarray(samples, np.float64).ravel()
    if samples.size == 0 or not np.isfinite(samples).all():
        bad = int(np.count_nonzero(~np.isfinite(samples)))
        raise ValueError(
            f"`samples` must be finite and at least one. Received: {samples.size} samples, {bad} not finite"
        )
    return np.quantile(samples, np.arange(1, buckets) / buckets).astype(np.float32)


def age_edges(buckets: int) -> np.ndarray:
    """The K - 1 inner edges, float32 seconds, of K buckets of ages: from a minute to a year, each the same multiple.

    Raises:
        ValueError: fewer than 3 buckets.
    """
    if buckets < 3:
        raise ValueError(f"`buckets` of ages must be at least 3, as the edges begin and end. Received: {buckets}")
    return (_MINUTE_S * _YEAR_MINUTES ** (np.arange(buckets - 1) / (buckets - 2))).astype(np.float32)


def equal_width_buckets(similarity: Tensor, buckets: int) -> Tensor:
    """Bucket ids, int32, of `similarity` in S equal-width buckets of [-1, 1].

    Rounding puts the cosine of equal vectors a little beyond 1 as often as on it: both are in the last bucket.
    """
    # Truncation is the floor of what is not negative; what is, the clip mends.
    position = ops.cast((similarity + 1.0) * (buckets / 2.0), "int32")
    return ops.clip(position, 0, buckets - 1)


def bucketize(values: Tensor, edges: Tensor) -> Tensor:
    """Bucket ids, int32, of `values` between ascending inner `edges` [S - 1]: how many edges are at or below it."""
    flat = ops.searchsorted(edges, ops.reshape(values, (-1,)), side="right")
    return ops.cast(ops.reshape(flat, ops.shape(values)), "int32")


def gather_by_bucket(table: Tensor, ids: Tensor) -> Tensor:
    """Reads `table` [..., S] at bucket `ids` int32 [..., L] with equal leading dimensions; returns [..., L]."""
    return gather_by_index(table, flat_index(ids, table.shape[-1]), ops.shape(ids)[-1])


def gather_by_index(table: Tensor, index: Tensor, length: int) -> Tensor:
    """`gather_by_bucket` for who has the `flat_index` of the ids [..., length] already."""
    taken = take_flat(ops.reshape(table, (-1,)), index)
    return ops.reshape(taken, (*ops.shape(table)[:-1], length))


def sum_by_bucket(weights: Tensor, ids: Tensor, size: int) -> Tensor:
    """Sums `weights` float32 [..., L] by bucket `ids` int32 [..., L]; returns [..., size]. No one-hot is built.

    With weights of 1 it is a histogram; with attention weights it is the attention-weighted histogram.
    """
    return sum_by_index(weights, flat_index(ids, size), size)


def sum_by_index(weights: Tensor, index: Tensor, size: int) -> Tensor:
    """`sum_by_bucket` for who has the `flat_index` of the ids already."""
    leading = ops.shape(weights)[:-1]
    sums = sum_flat(ops.reshape(weights, (-1,)), index, math.prod(leading) * size)
    return ops.reshape(sums, (*leading, size))


def flat_index(ids: Tensor, size: int) -> Tensor:
    """Ids [..., L] made distinct between rows, id + size * row, and flat: one index into a [rows * size] tensor."""
    leading = ops.shape(ids)[:-1]
    starts = ops.arange(math.prod(leading), dtype="int32") * size
    return ops.reshape(ids + ops.reshape(starts, (*leading, 1)), (-1,))
