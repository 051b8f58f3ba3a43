from __future__ import annotations

import math

import keras
import numpy as np
import pytest

from dmf_keras.layers import BagTower
from dmf_keras.testing import check_layer

to_numpy = keras.ops.convert_to_numpy
BAGS = np.array([[1, 4, 0], [2, 2, 3], [0, 0, 0], [0, 3, 0]])


def layer(**options):
    """With a bias that is not zeros, and weights large enough to leave what is linear of gelu."""
    made = BagTower(5, dim=4, hidden=6, units=3, **options)
    made.build()
    rng = np.random.default_rng(1)
    for weight in made.weights:
        weight.assign(rng.normal(size=weight.shape))
    return made


def reference(made, bags):
    """One bag at a time, in float64."""
    table, kernel, bias, projection = (
        to_numpy(weight).astype(np.float64) for weight in (made.table, made.kernel, made.bias, made.projection.kernel)
    )
    found = []
    for bag in bags:
        real = [index for index in bag if index != 0]
        if not real:
            found.append(np.zeros(projection.shape[1]))
            continue
        x = table[real].mean(axis=0) @ kernel + bias
        # Keras's gelu is the one by tanh.
        y = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) @ projection
        found.append(y / np.linalg.norm(y))
    return np.stack(found)


def test_equals_numpy():
    made = layer()
    found = to_numpy(made(BAGS))
    np.testing.assert_allclose(found, reference(made, BAGS), atol=1e-5)
    assert (found[2] == 0).all()


def test_any_leading_shape():
    made = layer()
    found = to_numpy(made(np.stack([BAGS, BAGS[::-1]])))
    np.testing.assert_allclose(found[1], reference(made, BAGS[::-1]), atol=1e-5)


def test_padding_and_order_change_nothing():
    made = layer()
    padded = np.concatenate([np.zeros((4, 2), int), BAGS[:, ::-1], np.zeros((4, 5), int)], axis=1)
    np.testing.assert_allclose(to_numpy(made(padded)), to_numpy(made(BAGS)), atol=1e-6)


def test_row_0_is_never_read():
    made = layer()
    before = to_numpy(made(BAGS))
    table = to_numpy(made.table).copy()
    table[0] = np.nan
    made.table.assign(table)
    np.testing.assert_array_equal(to_numpy(made(BAGS)), before)


def test_layer_checks(tmp_path):
    check_layer(layer, {"indices": BAGS}, lambda made, x: made(x["indices"]), tmp_path)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"rows": 1}, "`rows` must be an integer of at least 2. Received: 1"),
        ({"rows": 5, "dim": 0}, "`dim`"),
        ({"rows": 5, "hidden": 0}, "`hidden`"),
        ({"rows": 5, "units": 0}, "`units`"),
    ],
)
def test_refuses_sizes(sizes, message):
    with pytest.raises(ValueError, match=message):
        BagTower(**sizes)


def test_refuses_numbers():
    with pytest.raises(ValueError, match="indices"):
        layer()(BAGS.astype(np.float32))
