"""Look-up and sum by a flat index, each the gradient of the other, by operations that every Keras backend has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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


def nth_largest(values: Tensor, place: int) -> Tensor:
    """The `place`-th largest, counted from 1, of each row of `values` float [..., L]; `place` is at most L: [...]."""
    return ops.min(ops.top_k(values, place, sorted=False)[0], axis=-1)


def only_if(condition: Any, then: Callable[[], Tensor], otherwise: Callable[[], Tensor]) -> Tensor:
    """What one of two functions returns, of which only that one is computed; shapes and dtypes are the same."""
    return then() if condition else otherwise()


def dense_by_request(
    inputs: Tensor, kernel: Callable[[], Tensor], bias: Tensor, activation: Callable[[Tensor], Tensor]
) -> Tensor:
    """A dense layer whose bias is that of each request.

    Args:
        inputs: [B, N, P].
        kernel: gives [P, H]; asked where it is used, so that a constant is one there.
        bias: [B, H].
        activation: of the layer.

    Returns:
        activation(inputs kernel + bias), [B * N, H].
    """
    hidden = ops.matmul(inputs, kernel()) + ops.expand_dims(bias, 1)
    return ops.reshape(activation(hidden), (-1, hidden.shape[-1]))


def distinct(ids: Tensor) -> tuple[Tensor, Tensor]:
    """Values of `ids` int [...], [U], and the place of each id among them, int32 [...].

    Each value is there once where the backend can tell; here there is one for each id.
    """
    flat = ops.reshape(ids, (-1,))
    return flat, ops.reshape(ops.arange(ops.shape(flat)[0], dtype="int32"), ops.shape(ids))


def take_rows(table: Tensor, places: Tensor) -> Tensor:
    """Rows of `table` [R, ...] at `places` int [...], each in [0, R): [..., ...]."""
    return ops.take(table, places, axis=0)


def take_few(table: Tensor, places: Tensor) -> Tensor:
    """`take_rows` of a table with few rows, whose gradient may be a product."""
    return ops.take(table, places, axis=0)
