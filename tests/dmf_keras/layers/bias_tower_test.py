from __future__ import annotations

import keras
import numpy as np
import pytest

from dmf_keras.layers import BiasTower
from dmf_keras.testing import check_layer

to_numpy = keras.ops.convert_to_numpy
COLUMNS = {
    "slot": np.array([[1, 4, 0], [2, 2, 3]]),
    "position": np.array([[0.5, -1.0, 0.0], [2.0, 0.25, -3.0]], np.float32),
}


def tower(**options):
    return BiasTower({"slot": 5}, ["position"], dim=4, units=6, **options)


def test_equals_numpy():
    made = tower()
    found = to_numpy(made(COLUMNS))
    embedded = np.concatenate([to_numpy(made.columns.tables[0])[COLUMNS["slot"]], COLUMNS["position"][..., None]], -1)
    hidden = np.maximum(embedded @ to_numpy(made.hidden.kernel) + to_numpy(made.hidden.bias), 0)
    np.testing.assert_allclose(found, (hidden @ to_numpy(made.out.kernel))[..., 0], atol=1e-6)
    assert found.dtype == np.float32


def test_layer_checks(tmp_path):
    check_layer(tower, COLUMNS, lambda made, x: made(x), tmp_path)


def test_a_candidate_does_not_see_the_others():
    made = tower()
    alone = {name: value[:, 1:2] for name, value in COLUMNS.items()}
    np.testing.assert_allclose(to_numpy(made(alone)), to_numpy(made(COLUMNS))[:, 1:2], atol=1e-6)


def test_a_constant_moves_all_alike():
    constant = {name: np.full_like(value, 1) for name, value in COLUMNS.items()}
    found = to_numpy(tower()(constant))
    np.testing.assert_allclose(found, found[0, 0], atol=1e-6)


@pytest.mark.parametrize(("options", "message"), [({"categorical": {}}, "at least one"), ({"units": 0}, "units")])
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        BiasTower(**{"categorical": {"slot": 3}, **options})
