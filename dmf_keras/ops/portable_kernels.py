"""Look-up and sum by a flat index, each the gradient of the other, by operations that every Keras backend has."""

from __future__ import annotations

from keras import ops

from dmf_keras.types import Tensor


def take_flat(table: Tensor, index: Tensor) -> Tensor:
    """`table` float [R] at `index` int32 [P], each in [0, R): float [P]."""
    return ops.take(table, index)


def sum_flat(weights: Tensor, index: Tensor, size: Tensor) -> Tensor:
    """Sums of `weights` float32 [P] by `index` int32 [P], each in [0, size): float32 [size]."""
    # For Keras on PyTorch a number of 0 sums means "find out how many", which it cannot where there is nothing.
    if isinstance(size, int) and size == 0:
        return ops.zeros((0,), weights.dtype)
    return ops.segment_sum(weights, index, num_segments=size)
