"""Each item of a batch made once is each made where it stands, gradients included."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from dmf_keras.ops import rows
from tests.dmf_keras.gradients import gradients

to_numpy = keras.ops.convert_to_numpy
IDS = np.array([[3, 3, 0, 7], [7, 1, 3, 0]], np.int32)


def test_places_of_values_give_the_ids_again():
    values, places = map(to_numpy, rows.distinct(ops.convert_to_tensor(IDS)))
    np.testing.assert_array_equal(values[places], IDS)
    if rows.CAN_TELL_DISTINCT:
        assert sorted(values) == [0, 1, 3, 7]


def test_pairs_are_made_once_and_stand_where_they_stood():
    asked = []
    second = np.array([[5, 4, 0, 2], [2, 1, 5, 0]], np.int32)

    def make(first, second):
        asked.append(ops.shape(first))
        return ops.stack([first, second, first * 10 + second], axis=-1)

    found = to_numpy(rows.made_once(make, ops.convert_to_tensor(IDS), ops.convert_to_tensor(second), 6))
    np.testing.assert_array_equal(found, np.stack([IDS, second, IDS * 10 + second], axis=-1))
    assert asked == [(1, 5 if rows.CAN_TELL_DISTINCT else 8)]


@pytest.mark.parametrize("requests", [0, 1, 3])
@pytest.mark.parametrize("candidates", [0, 4])
def test_a_bias_of_each_request(requests, candidates):
    rng = np.random.default_rng(0)
    inputs, kernel, bias = (rng.normal(size=size) for size in ((requests, candidates, 5), (5, 3), (requests, 3)))
    expected = np.maximum(inputs @ kernel + bias[:, None], 0).reshape(-1, 3)
    inputs, kernel, bias = (ops.convert_to_tensor(each.astype(np.float32)) for each in (inputs, kernel, bias))
    np.testing.assert_allclose(
        to_numpy(rows.dense_by_request(inputs, lambda: kernel, bias, keras.activations.relu)), expected, atol=1e-6
    )


@pytest.mark.parametrize("shape", [(2, 4), (0, 4), (3, 0)])
@pytest.mark.parametrize("take", [rows.take_rows, rows.take_few])
def test_rows_and_their_gradients(take, shape):
    rng = np.random.default_rng(0)
    table, weights = rng.normal(size=(8, 5)).astype(np.float32), rng.normal(size=(*shape, 5)).astype(np.float32)
    places = rng.integers(0, 8, shape, np.int32)
    np.testing.assert_array_equal(
        to_numpy(take(ops.convert_to_tensor(table), ops.convert_to_tensor(places))), table[places]
    )
    found = gradients(lambda table: ops.sum(take(table, ops.convert_to_tensor(places)) * weights), {"table": table})
    expected = np.zeros_like(table)
    np.add.at(expected, places, weights)
    np.testing.assert_allclose(found["table"], expected, atol=1e-5)


def test_a_large_second_number_does_not_overflow():
    index = np.array([[2_000_000_000, 5]], np.int32)
    row = np.array([[1_999_999_999, 7]], np.int32)
    if keras.backend.backend() == "jax":
        pytest.skip("JAX has 32-bit integers unless told otherwise, and does not tell distinct pairs")
    found = rows.made_once(lambda *pair: ops.stack(pair, -1), *map(ops.convert_to_tensor, (index, row)), 2_000_000_000)
    np.testing.assert_array_equal(to_numpy(found), np.stack([index, row], -1))
