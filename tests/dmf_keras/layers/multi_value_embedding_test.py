from __future__ import annotations

import keras
import numpy as np
import pytest

from dmf_keras.layers import MultiValueEmbedding
from dmf_keras.testing import check_layer

to_numpy = keras.ops.convert_to_numpy
LISTS = np.array([[1, 4, 0], [2, 2, 3], [0, 0, 0], [0, 3, 0]])


def layer(**options):
    return MultiValueEmbedding(5, dim=4, **options)


def reference(table, lists):
    """One list at a time."""
    found = []
    for one in lists:
        real = [index for index in one if index != 0]
        found.append(table[real].mean(axis=0) if real else table[0])
    return np.stack(found)


def test_equals_numpy():
    made = layer()
    found = to_numpy(made(LISTS))
    assert found.shape == (4, 4)
    np.testing.assert_allclose(found, reference(to_numpy(made.table), LISTS), atol=1e-6)


def test_any_leading_shape():
    made = layer()
    lists = np.stack([LISTS, LISTS[::-1]])
    found = to_numpy(made(lists))
    assert found.shape == (2, 4, 4)
    np.testing.assert_allclose(found[1], reference(to_numpy(made.table), LISTS[::-1]), atol=1e-6)


def test_padding_and_order_change_nothing():
    made = layer()
    before = to_numpy(made(LISTS))
    padded = np.concatenate([np.zeros((4, 2), int), LISTS[:, ::-1], np.zeros((4, 5), int)], axis=1)
    np.testing.assert_allclose(to_numpy(made(padded)), before, atol=1e-6)


def test_what_padding_would_look_up_changes_no_list_that_has_a_value():
    made = layer()
    made.build()
    before = to_numpy(made(LISTS))
    table = to_numpy(made.table).copy()
    table[0] = np.nan
    made.table.assign(table)
    after = to_numpy(made(LISTS))
    np.testing.assert_array_equal(after[[0, 1, 3]], before[[0, 1, 3]])
    assert np.isnan(after[2]).all()


def test_layer_checks(tmp_path):
    check_layer(layer, {"indices": LISTS}, lambda made, x: made(x["indices"]), tmp_path)


@pytest.mark.parametrize(("options", "message"), [({"rows": 0}, "rows"), ({"rows": 2, "dim": 0}, "dim")])
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        MultiValueEmbedding(**options)


def test_refuses_what_are_no_indices():
    with pytest.raises(ValueError, match="indices"):
        layer()(LISTS.astype("float32"))
