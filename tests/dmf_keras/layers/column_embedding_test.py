from __future__ import annotations

import keras
import numpy as np
import pytest

from dmf_keras.layers import ColumnEmbedding
from dmf_keras.testing import check_layer

to_numpy = keras.ops.convert_to_numpy
COLUMNS = {
    "slot": np.array([[1, 4, 0], [2, 2, 3]]),
    "price": np.array([[0.5, -1.0, 0.0], [2.0, 0.25, -3.0]], np.float32),
    "kind": np.array([[0, 1, 1], [1, 0, 0]]),
}


def layer(**options):
    return ColumnEmbedding({"slot": 5, "kind": 2}, ["price"], dim=4, **options)


def test_equals_numpy():
    made = layer()
    found = to_numpy(made(COLUMNS))
    assert found.shape == (2, 3, made.width) == (2, 3, 9)
    slot, kind = map(to_numpy, made.tables)
    expected = [slot[COLUMNS["slot"]], kind[COLUMNS["kind"]], COLUMNS["price"][..., None]]
    np.testing.assert_allclose(found, np.concatenate(expected, axis=-1), atol=1e-6)


def test_layer_checks(tmp_path):
    check_layer(layer, COLUMNS, lambda made, x: made(x), tmp_path)


@pytest.mark.parametrize(
    ("options", "width"), [({"categorical": {}, "numeric": ["price"]}, 1), ({"categorical": {"slot": 5}}, 16)]
)
def test_columns_of_one_kind(options, width):
    assert to_numpy(ColumnEmbedding(**options)(COLUMNS)).shape == (2, 3, width)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"categorical": {}}, "at least one column"),
        ({"categorical": {"slot": 0}}, "slot"),
        ({"categorical": {"slot": 2}, "dim": 0}, "dim"),
        ({"categorical": {"slot": 2}, "numeric": ["slot"]}, r"in both: \['slot'\]"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        ColumnEmbedding(**options)


def test_refuses_columns_that_do_not_fit():
    with pytest.raises(ValueError, match=r"missing columns: kind, price\. Received: slot"):
        layer()({"slot": COLUMNS["slot"]})
    with pytest.raises(ValueError, match="slot"):
        layer()({**COLUMNS, "slot": COLUMNS["price"]})
