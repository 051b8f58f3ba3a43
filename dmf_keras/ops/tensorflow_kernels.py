"""`portable_kernels` by the fastest of TensorFlow's own operations.

Keras's `take` passes over all ids three times to allow for negative ones, and its `segment_sum` is
`UnsortedSegmentSum`, of which every thread reads all ids. For 600,000 ids on two CPU cores: look-up 2.0 ms and not
4.7, sum 1.2 ms and not 3.0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from dmf_keras.ops import portable_kernels
from dmf_keras.types import Tensor


def take_flat(table: Tensor, index: Tensor) -> Tensor:
    """See `portable_kernels.take_flat`."""

    @tf.custom_gradient
    def take(table: Tensor) -> tuple[Tensor, Any]:
        taken = tf.gather_nd(table, tf.expand_dims(index, -1))
        # TensorFlow's own gradient is ScatterNd, ten times as slow.
        return taken, lambda gradient: sum_flat(gradient, index, tf.size(table))

    return take(tf.convert_to_tensor(table))


def sum_flat(weights: Tensor, index: Tensor, size: Tensor) -> Tensor:
    """See `portable_kernels.sum_flat`."""

    @tf.custom_gradient
    def add(weights: Tensor) -> tuple[Tensor, Any]:
        # DenseBincount has no gradient of its own.
        return _sum(weights, index, size), lambda gradient: take_flat(gradient, index)

    return add(tf.convert_to_tensor(weights))


def _sum(weights: Tensor, index: Tensor, size: Tensor) -> Tensor:
    if tf.config.list_physical_devices("GPU"):
        # There DenseBincount is refused when deterministic operations are asked for.
        return tf.math.unsorted_segment_sum(weights, index, size)
    return tf.raw_ops.DenseBincount(input=index, size=tf.cast(size, index.dtype), weights=weights)


def nth_largest(values: Tensor, place: int) -> Tensor:
    """See `portable_kernels.nth_largest`."""
    if tf.config.list_physical_devices("GPU"):
        # NthElement is of the CPU alone.
        return portable_kernels.nth_largest(values, place)
    # Of 1,200 rows of 1,000, 50th: half the time of TopKV2, whose time grows with the place besides.
    return tf.raw_ops.NthElement(input=values, n=place - 1, reverse=True)


def only_if(condition: Any, then: Callable[[], Tensor], otherwise: Callable[[], Tensor]) -> Tensor:
    """See `portable_kernels.only_if`."""
    if isinstance(condition, bool):
        return portable_kernels.only_if(condition, then, otherwise)
    return tf.cond(condition, then, otherwise)


def dense_by_request(
    inputs: Tensor, kernel: Callable[[], Tensor], bias: Tensor, activation: Callable[[Tensor], Tensor]
) -> Tensor:
    """See `portable_kernels.dense_by_request`."""

    def of_one() -> Tensor:
        # A bias of one dimension is added inside the product, and the activation applied there: no further passes.
        product = tf.matmul(tf.reshape(inputs, [-1, inputs.shape[-1]]), kernel())
        # The sum over one request is its bias, and a shape that XLA can compile of any other number too.
        return activation(tf.nn.bias_add(product, tf.reduce_sum(bias, axis=0)))

    def of_any() -> Tensor:
        return portable_kernels.dense_by_request(inputs, kernel, bias, activation)

    if bias.shape[0] is not None:
        return of_one() if bias.shape[0] == 1 else of_any()
    return tf.cond(tf.shape(bias)[0] == 1, of_one, of_any)


def distinct(ids: Tensor) -> tuple[Tensor, Tensor]:
    """See `portable_kernels.distinct`; not for XLA, where shapes cannot depend on values."""
    found, places = tf.unique(tf.reshape(ids, [-1]))
    return found, tf.reshape(places, tf.shape(ids))


def take_rows(table: Tensor, places: Tensor) -> Tensor:
    """See `portable_kernels.take_rows`."""
    # Of a variable the rows alone are read, and not all of it.
    return tf.gather(table.value if isinstance(table, keras.Variable) else table, places)


def take_few(table: Tensor, places: Tensor) -> Tensor:
    """See `portable_kernels.take_few`."""

    @tf.custom_gradient
    def take(table: Tensor) -> tuple[Tensor, Any]:
        def gradient(taken: Tensor) -> Tensor:
            rows, width = table.shape
            # Of few rows a product sums several times as fast as UnsortedSegmentSum.
            chosen = tf.one_hot(tf.reshape(places, [-1]), rows, dtype=taken.dtype)
            return tf.matmul(chosen, tf.reshape(taken, [-1, width]), transpose_a=True)

        return tf.gather(table, places), gradient

    return take(tf.convert_to_tensor(table))
