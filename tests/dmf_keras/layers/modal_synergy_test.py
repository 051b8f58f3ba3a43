from __future__ import annotations

from functools import partial
from math import erf

import keras
import numpy as np
import pytest
from keras import ops

from dmf_keras.layers import ModalSynergy
from dmf_keras.testing import check_layer
from tests.dmf_keras.gradients import gradients
from tests.dmf_keras.models.by_numpy import dense, softmax, to_numpy

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


def _attention(layer, own, source):
    query, key, value = (
        dense(one, x).reshape(2, 3) for one, x in ((layer.query, own), (layer.key, source), (layer.value, source))
    )
    weights = softmax((query * key).sum(-1) / np.sqrt(3))
    return own + float(to_numpy(layer.scale)) * dense(layer.output_projection, (weights[:, None] * value).ravel())


def _by_numpy(layer, streams, there, noise=None):
    """y of one row: streams [S, D] of which those of `there` exist; noise [T, S, D]."""
    if not there:
        return np.zeros(6)
    held = {s: streams[s].astype(float) for s in there}
    bars = np.cos(0.45 * np.pi * np.arange(4) / 3) ** 2
    for t in range(3):
        kept = bars[t + 1] / bars[t]
        noisy = {s: np.sqrt(kept) * held[s] for s in there}
        if noise is not None:
            noisy = {s: noisy[s] + np.sqrt(1 - kept) * noise[t][s] for s in there}
        for s in there:
            others, predicted = [j for j in there if j != s], noisy[s]
            if others:
                places = [j for j in range(len(streams)) if j != s]
                logits = to_numpy(layer.source_logits[s]) if layer.source_logits else np.zeros(1)
                weights = softmax(np.array([logits[places.index(j)] for j in others]))
                source = sum(w * noisy[j] for w, j in zip(weights, others, strict=True))
                predicted = _attention(layer.attention[s], noisy[s], source)
            held[s] = (noisy[s] - (1 - kept) / np.sqrt(1 - bars[t + 1]) * predicted) / np.sqrt(kept)
    joined = np.concatenate([held.get(s, np.zeros(6)) for s in range(len(streams))])
    joined = (joined - joined.mean()) / np.sqrt(joined.var() + 1e-5) * to_numpy(layer.norm.gamma)
    hidden = dense(layer.hidden, joined + to_numpy(layer.norm.beta))
    return dense(layer.output_projection, np.array([x / 2 * (1 + erf(x / np.sqrt(2))) for x in hidden]))


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
        expected = _by_numpy(layer, [x[row] for x in streams], there, given)
        np.testing.assert_allclose(found[row], expected, atol=1e-4)


def test_noise_is_of_training_alone_standard_normal_and_of_the_seed():
    streams = _streams()
    first, second = (_layer(seed=5) for _ in range(2))
    np.testing.assert_array_equal(to_numpy(first(streams)), to_numpy(first(streams)))
    noisy = [to_numpy(layer(streams, training=True)) for layer in (first, first, second)]
    assert np.abs(noisy[0] - noisy[1]).max() > 1e-3
    np.testing.assert_array_equal(noisy[2], noisy[0])
    drawn = to_numpy(first.noise(ops.zeros((100, 100))))
    assert abs(drawn.mean()) < 0.05 and abs(drawn.std() - 1) < 0.05


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
