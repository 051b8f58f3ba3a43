from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest
from keras import ops

from dmf_keras.layers import ModalSynergy
from dmf_keras.testing import check_layer
from tests.dmf_keras.gradients import gradients
from tests.dmf_keras.layers.streams_by_numpy import synergy
from tests.dmf_keras.models.by_numpy import to_numpy

# Rows: all there, one missing, one alone, nothing.
PRESENT = list(np.array([[1, 1, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0]], bool).T)


def _streams(count=3):
    return list(np.random.default_rng(0).normal(size=(count, 4, 6)).astype(np.float32))


def _layer(count=3, **kwargs):
    layer = ModalSynergy(3, 2, **kwargs)
    layer.build([(None, 6)] * count)
    rng = np.random.default_rng(1)
    for weight in layer.trainable_variables:
        weight.assign(rng.normal(scale=0.5, size=weight.shape))
    return layer


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("count", [2, 3])
def test_equals_the_definition(count, noisy):
    layer, streams, present = _layer(count), _streams(count), PRESENT[:count]
    noise = np.random.default_rng(2).normal(size=(3, count, 4, 6)).astype(np.float32)
    drawn = iter(noise.reshape(-1, 4, 6))
    layer.noise = lambda like: next(drawn)
    found = to_numpy(layer(streams, present, training=noisy))
    for row in range(4):
        there = [s for s in range(count) if present[s][row]]
        given = noise[:, :, row] if noisy else None
        expected = synergy(layer, [x[row] for x in streams], there, given)
        np.testing.assert_allclose(found[row], expected, atol=1e-4)


def test_noise_is_of_training_alone_as_long_as_its_vector_and_of_the_seed():
    streams = _streams()
    first, second = (_layer(seed=5) for _ in range(2))
    np.testing.assert_array_equal(to_numpy(first(streams)), to_numpy(first(streams)))
    noisy = [to_numpy(layer(streams, training=True)) for layer in (first, first, second)]
    assert np.abs(noisy[0] - noisy[1]).max() > 1e-3
    np.testing.assert_array_equal(noisy[2], noisy[0])
    sizes = np.repeat(np.array([[0.05], [1.0], [7.0]], np.float32), 5000, 1)
    drawn = to_numpy(first.noise(sizes * np.sign(np.random.default_rng(1).normal(size=sizes.shape))))
    np.testing.assert_allclose(drawn.std(axis=1), sizes[:, 0], rtol=0.05)
    np.testing.assert_array_less(np.abs(drawn.mean(axis=1)), 0.05 * sizes[:, 0])
    assert not to_numpy(first.noise(ops.zeros((2, 9)))).any(), "what is absent stays zeros"


def test_what_is_missing_may_be_nan_and_has_no_gradient():
    layer, streams = _layer(), _streams()
    filled = [np.where(there[:, None], x, np.float32(np.nan)) for x, there in zip(streams, PRESENT, strict=True)]
    np.testing.assert_array_equal(to_numpy(layer(filled, PRESENT)), to_numpy(layer(streams, PRESENT)))
    found = gradients(lambda streams: ops.sum(layer(streams, PRESENT, training=True) ** 2), {"streams": filled})
    for gradient, there in zip(found["streams"], PRESENT, strict=True):
        assert np.isfinite(gradient).all() and not gradient[~there].any() and gradient[there].any()


def test_layer_checks(tmp_path):
    inputs = {f"s{place}": x for place, x in enumerate(_streams())} | {"some": PRESENT[1], "all": np.ones(4, bool)}
    make = partial(ModalSynergy, 2, 3, keras.initializers.HeNormal(seed=1), seed=3)

    def call(layer, x):
        return layer([x["s0"], x["s1"], x["s2"]], [x["all"], x["some"], x["all"]])

    check_layer(make, inputs, call, tmp_path)


def test_refuses():
    for arguments in ({"steps": 0}, {"heads": 0}):
        with pytest.raises(ValueError, match="Received: 0"):
            ModalSynergy(**arguments)
    with pytest.raises(ValueError, match=r"two at least. Received: 1"):
        ModalSynergy()(_streams(1))
    with pytest.raises(ValueError, match="Received: 2 and none"):
        _layer()(_streams(2))
