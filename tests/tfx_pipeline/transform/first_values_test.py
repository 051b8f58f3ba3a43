from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfx_pipeline.transform.preprocessing import first_values


def _lists(values: tf.SparseTensor) -> list[list[bytes]]:
    return tf.RaggedTensor.from_sparse(values).to_list()


def _reference(rows: list[list[str]], most: int) -> list[list[bytes]]:
    return [[value.encode() for value in dict.fromkeys(filter(None, row))][:most] for row in rows]


@pytest.mark.parametrize("most", [1, 2, 100])
@pytest.mark.parametrize(
    "rows",
    [
        [["b", "a", "b", "c"], [], ["a"], ["", "c", "", "c", "a"]],
        # A row's number and its value must not be another row's.
        [["1 a"], ["a"], ["0 a", "a", "0 a"]],
        [[], []],
        [["", ""]],
    ],
)
def test_equals_python(rows, most):
    sparse = tf.ragged.constant(rows, dtype=tf.string, ragged_rank=1).to_sparse()
    found = first_values(sparse, most)
    assert found.dense_shape[0] == len(rows)
    assert _lists(found) == _reference(rows, most)


def test_random_rows():
    rng = np.random.default_rng(0)
    rows = [rng.choice(["a", "b", "c", "d", ""], rng.integers(0, 12)).tolist() for _ in range(200)]
    sparse = tf.ragged.constant(rows, dtype=tf.string, ragged_rank=1).to_sparse()
    assert _lists(tf.function(first_values)(sparse, 3)) == _reference(rows, 3)
