from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest

from dmf_keras.layers import ComplementaryModalityMixing
from dmf_keras.testing import check_layer

to_numpy = keras.ops.convert_to_numpy


def _inputs(width=5):
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(2, 3, width)).astype(np.float32) for name in ("enriched", "centric")}


@pytest.mark.parametrize("mode", ["fixed", "learned", "gate"])
@pytest.mark.parametrize("alpha", [0.2, 0.5])
def test_starts_at_alpha(mode, alpha):
    inputs = _inputs()
    expected = alpha * inputs["enriched"] + (1 - alpha) * inputs["centric"]
    mixed = to_numpy(ComplementaryModalityMixing(mode, alpha)(**inputs))
    np.testing.assert_allclose(mixed, expected, atol=1e-6)


def test_learned_is_one_weight_and_gate_is_one_per_candidate():
    inputs = _inputs()
    learned = ComplementaryModalityMixing("learned")
    learned(**inputs)
    learned.bias.assign(2.0)
    share = 1 / (1 + np.exp(-2.0))
    np.testing.assert_allclose(
        to_numpy(learned(**inputs)), share * inputs["enriched"] + (1 - share) * inputs["centric"], atol=1e-6
    )
    gate = ComplementaryModalityMixing("gate")
    gate(**inputs)
    kernel = np.random.default_rng(1).normal(size=(10, 1))
    gate.kernel.assign(kernel)
    share = 1 / (1 + np.exp(-np.concatenate([inputs["enriched"], inputs["centric"]], -1) @ kernel))
    np.testing.assert_allclose(
        to_numpy(gate(**inputs)), share * inputs["enriched"] + (1 - share) * inputs["centric"], atol=1e-5
    )


def test_alpha_is_trained_by_its_gradient():
    inputs = _inputs()
    layer = ComplementaryModalityMixing("learned", 0.3)
    symbolic = {name: keras.Input((None, 5), name=name) for name in inputs}
    model = keras.Model(symbolic, layer(**symbolic))
    model.compile(keras.optimizers.SGD(1.0), loss=lambda y, z: keras.ops.sum(y * z))
    target = np.random.default_rng(1).normal(size=(2, 3, 5)).astype(np.float32)
    start = float(to_numpy(layer.bias))
    model.train_on_batch(inputs, target)
    gradient = 0.3 * 0.7 * np.sum(target * (inputs["enriched"] - inputs["centric"]))
    assert float(to_numpy(layer.bias)) - start == pytest.approx(-gradient, rel=1e-4)


@pytest.mark.parametrize("mode", ["fixed", "learned", "gate", "concat"])
def test_candidates_are_independent(mode):
    inputs = _inputs()
    layer = ComplementaryModalityMixing(mode)
    whole = to_numpy(layer(**inputs))
    if mode == "gate":
        layer.kernel.assign(np.random.default_rng(1).normal(size=(10, 1)))
        whole = to_numpy(layer(**inputs))
    order = np.array([2, 0])
    part = to_numpy(layer(**{name: array[:, order] for name, array in inputs.items()}))
    np.testing.assert_allclose(part, whole[:, order], atol=1e-6)


def test_concat_keeps_both():
    inputs = _inputs()
    mixed = to_numpy(ComplementaryModalityMixing("concat")(**inputs))
    np.testing.assert_array_equal(mixed, np.concatenate([inputs["enriched"], inputs["centric"]], -1))


@pytest.mark.parametrize("mode", ["fixed", "learned", "gate", "concat"])
def test_layer_checks(mode, tmp_path):
    check_layer(partial(ComplementaryModalityMixing, mode, 0.3), _inputs(), lambda layer, x: layer(**x), tmp_path)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"mode": "sum"}, "must be one of fixed, learned, gate, concat. Received: 'sum'"),
    ({"alpha": 1.5}, "from 0 to 1. Received: 1.5"),
    ({"mode": "gate", "alpha": 1}, 'strictly between 0 and 1 with mode "gate". Received: 1'),
])  # fmt: skip
def test_refuses_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ComplementaryModalityMixing(**arguments)


def test_refuses_different_widths():
    with pytest.raises(ValueError, match=r"the width of `enriched`. Received: shape \(2, 3, 6\)"):
        ComplementaryModalityMixing()(_inputs()["enriched"], np.zeros((2, 3, 6), np.float32))
