from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest
from keras import ops

from dmf_keras.layers import ModalityExperts
from dmf_keras.testing import check_layer
from tests.dmf_keras.gradients import gradients
from tests.dmf_keras.layers.streams_by_numpy import experts
from tests.dmf_keras.models.by_numpy import to_numpy

PRESENT = [np.array([True, True, False]), np.array([True, False, False])]


def _streams():
    return list(np.random.default_rng(0).normal(size=(2, 3, 6)).astype(np.float32))


def _layer(**kwargs):
    layer = ModalityExperts([5], keras.initializers.HeNormal(seed=1), **kwargs)
    layer.build([(None, 6)] * 2)
    rng = np.random.default_rng(1)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer


@pytest.mark.parametrize("masked", [False, True])
def test_equals_the_definition(masked):
    layer, streams = _layer(), _streams()
    found = layer(streams, PRESENT if masked else None)
    present = PRESENT if masked else [np.ones(3, bool)] * 2
    for row in range(3):
        there = [s for s in range(2) if present[s][row]]
        *lists, mean = experts(layer, [x[row] for x in streams], there)
        for actual, expected in zip((found.mixed, found.specific, found.shared), lists, strict=True):
            expected = [expected.get(s, np.zeros(6)) for s in range(2)]
            np.testing.assert_allclose([to_numpy(x)[row] for x in actual], expected, atol=1e-5)
        np.testing.assert_allclose(to_numpy(found.shared_mean)[row], mean, atol=1e-5)


def test_what_is_missing_may_be_nan_and_has_no_gradient():
    layer, streams = _layer(), _streams()
    filled = [np.where(there[:, None], x, np.float32(np.nan)) for x, there in zip(streams, PRESENT, strict=True)]
    for one, other in zip(layer(filled, PRESENT).mixed, layer(streams, PRESENT).mixed, strict=True):
        np.testing.assert_array_equal(to_numpy(one), to_numpy(other))
    found = gradients(lambda streams: ops.sum(layer(streams, PRESENT).mixed[0]), {"streams": filled})["streams"]
    assert np.isfinite(found).all() and not found[1][1:].any() and not found[0][2].any()


def test_only_the_streams_that_are_asked_for():
    layer, streams = _layer(), _streams()
    found, whole = layer(streams, PRESENT, places=[1]), layer(streams, PRESENT)
    assert [len(found.mixed), len(found.specific), len(found.shared)] == [1, 1, 2]
    np.testing.assert_array_equal(to_numpy(found.mixed[0]), to_numpy(whole.mixed[1]))


def test_layer_checks(tmp_path):
    inputs = {"ids": _streams()[0], "text": _streams()[1], "some": PRESENT[1], "all": np.ones(3, bool)}
    make = partial(ModalityExperts, [5], keras.initializers.HeNormal(seed=1))
    check_layer(make, inputs, lambda layer, x: list(layer([x["ids"], x["text"]], [x["all"], x["some"]])), tmp_path)


@pytest.mark.parametrize(("streams", "present", "message"), [
    (_streams()[:1], None, r"must have 2 entries each, as the layer was built. Received: 1 and none"),
    (_streams(), PRESENT[:1], "Received: 2 and 1"),
    ([np.zeros((3, 5), np.float32)] * 2, None, r"`streams` must have 6 in dimension 1.*\(3, 5\)"),
    (_streams(), [np.ones(3, np.float32)] * 2, "`present` must be of dtype bool. Received: dtype float32"),
])  # fmt: skip
def test_refuses_inputs(streams, present, message):
    with pytest.raises(ValueError, match=message):
        _layer()(streams, present)


def test_refuses_arguments():
    with pytest.raises(ValueError, match=r"at least one layer. Received: \[\]"):
        ModalityExperts([])
