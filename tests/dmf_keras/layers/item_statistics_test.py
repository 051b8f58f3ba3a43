from __future__ import annotations

import keras
import numpy as np
import pytest

from dmf_keras.layers import ItemStatistics
from dmf_keras.testing import check_layer

to_numpy = keras.ops.convert_to_numpy
COUNTS = {"impressions": np.array([7, 120, 3, 0]), "positives": np.array([5, 20, 0, 0])}


def made(**kwargs):
    layer = ItemStatistics(6, ["impressions", "positives"], **kwargs)
    layer.set_rows(COUNTS)
    return layer


def test_gives_logarithms_by_row_and_zeros_outside_the_catalogue():
    rows = np.array([[0, 1, 2], [3, 5, 1]])
    expected = np.zeros((6, 2))
    expected[1:4] = np.log1p(np.stack([COUNTS["impressions"], COUNTS["positives"]], 1)[1:])
    np.testing.assert_allclose(to_numpy(made()(rows)), expected[rows], rtol=1e-6)


def test_is_float32_and_not_trained():
    layer = made(dtype="mixed_bfloat16")
    assert keras.backend.standardize_dtype(layer(np.array([[1]])).dtype) == "float32"
    assert layer.trainable_weights == []


def test_rows_beyond_those_given_become_0():
    layer = made()
    layer.set_rows({"impressions": np.array([0, 4]), "positives": np.array([0, 1])})
    assert not to_numpy(layer(np.array([2, 3]))).any()


def test_layer_checks(tmp_path):
    check_layer(made, {"rows": np.array([[0, 1], [2, 3]], np.int32)}, lambda layer, x: layer(x["rows"]), tmp_path)


@pytest.mark.parametrize(("counts", "message"), [
    ({"impressions": np.zeros(3)}, r"must be \['impressions', 'positives'\]. Received: \['impressions'\]"),
    ({**COUNTS, "positives": np.zeros(7)}, r"'positives' must be \(1 to 6,\). Received: \(7,\)"),
    ({**COUNTS, "positives": np.array([0.0, -1.0])}, "at least 0. Received: -1.0"),
    ({**COUNTS, "positives": np.array([0.0, np.nan])}, "must be finite"),
])  # fmt: skip
def test_refuses_counts(counts, message):
    with pytest.raises(ValueError, match=message):
        made().set_rows(counts)


def test_refuses_arguments_and_inputs():
    with pytest.raises(ValueError, match="at least one count"):
        ItemStatistics(3, [])
    with pytest.raises(ValueError, match="Received: 0"):
        ItemStatistics(0, ["a"])
    with pytest.raises(ValueError, match="`rows` must be of dtype int"):
        made()(np.zeros((1, 2), np.float32))
