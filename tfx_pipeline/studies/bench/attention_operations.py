"""`dmf bench attention --operations`: what the factored form consists of, each operation alone.

Their sum is what the form takes but for the projections: each passes once over the numbers [N, L] of all pairs, and no
operation of TensorFlow does two of these passes at once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from dmf_keras.ops.bucketing import flat_index, gather_by_index, sum_by_index
from dmf_keras.ops.masked import softmax

# In ID-only attention too.
SHARED = ("q . k", "softmax", "w . v")


def attention_operations(candidates: int, history: int, width: int, buckets: int) -> dict[str, Callable[[], tf.Tensor]]:
    """The operations over pairs of one user and one head, by name, in the order in which they run.

    Args:
        candidates, history: N and L.
        width: A of query, key and value.
        buckets: S, without the missing one.
    """
    rng = np.random.default_rng(0)

    # Variables: a graph computes nothing of them beforehand, as it does of constants.
    def drawn(*shape: int) -> tf.Variable:
        return tf.Variable(rng.normal(size=shape).astype(np.float32))

    size = buckets + 1
    query, keys, values = drawn(1, candidates, width), drawn(1, history, width), drawn(1, history, width)
    ids = tf.Variable(rng.integers(0, size, (1, candidates, history), np.int32))
    index = tf.Variable(flat_index(ids, size))
    by_bucket, looked_up = drawn(1, candidates, size), drawn(1, candidates, history)
    logits = drawn(1, candidates, history)
    weights = tf.Variable(softmax(logits.read_value()))
    operations: dict[str, Callable[[], tf.Tensor]] = {
        "q . k": lambda: tf.matmul(query, keys, transpose_b=True),
        "index of each pair's bucket": lambda: flat_index(ids.read_value(), size),
        "look-up (GatherNd)": lambda: gather_by_index(by_bucket.read_value(), index.read_value(), history),
        "sum of logits and look-up": lambda: logits + looked_up,
        "softmax": lambda: softmax(logits.read_value()),
        "w . v": lambda: tf.matmul(weights, values),
        "sum by bucket (DenseBincount)": lambda: sum_by_index(weights.read_value(), index.read_value(), size),
    }
    return {name: tf.function(operation) for name, operation in operations.items()}
