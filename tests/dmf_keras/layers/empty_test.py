"""Histories of length 0 and pages of 0 candidates: zeros and nothing, in every layer, on every backend."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from dmf_keras.layers import (
    ComplementaryModalityMixing,
    InterestHead,
    LocalActivationUnit,
    SimilarityBuckets,
    SimilarityHistogram,
)
from tests.dmf_keras.gradients import gradients
from tests.dmf_keras.layers.attention_inputs import DIM, KINDS, call, inputs, make, to_numpy

sizes = pytest.mark.parametrize(("batch", "candidates", "history"), [(2, 3, 0), (2, 0, 4), (2, 0, 0), (0, 3, 4)])


def _normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def _inputs(kind: str, batch: int, candidates: int, history: int) -> dict[str, np.ndarray]:
    """Of a layer of attention, cut to size: nothing is drawn of it."""
    whole = inputs(kind, 2, 3, 4)
    cut = {"candidates": whole["candidates"][:batch, :candidates]}
    cut |= {name: whole[name][:batch, :history] for name in ("history", "history_mask")}
    return cut | {name: array[:batch, :candidates, :history] for name, array in whole.items() if name not in cut}


@sizes
@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_attention(kind, heads, batch, candidates, history):
    layer, arrays = make(kind, heads), _inputs(kind, batch, candidates, history)
    interest, weights = call(layer, arrays, return_weights=True)
    assert tuple(interest.shape) == (batch, candidates, DIM)
    assert tuple(weights.shape) == (batch, heads, candidates, history)
    if not history:
        assert not to_numpy(interest).any()
    floats = {name: arrays[name] for name in ("candidates", "history")}
    for name, found in gradients(lambda **x: ops.sum(call(layer, arrays | x) ** 2), floats).items():
        assert found.shape == arrays[name].shape and np.isfinite(found).all()


@sizes
@pytest.mark.parametrize("training", [False, True])
def test_local_activation_unit(training, batch, candidates, history):
    layer = LocalActivationUnit((5, 4))
    mask = np.ones((batch, history), bool)
    interest, weights = layer(
        _normal(batch, candidates, 6), _normal(batch, history, 6), mask, return_weights=True, training=training
    )
    assert tuple(interest.shape) == (batch, candidates, 6) and tuple(weights.shape) == (batch, candidates, history)
    assert history or not to_numpy(interest).any()
    # A batch of nothing leaves the statistics as they are.
    assert all(np.isfinite(weight).all() for weight in layer.get_weights())


@sizes
@pytest.mark.parametrize("scaling", ["log1p", "l1", "raw"])
@pytest.mark.parametrize("edges", ["equal", [-0.5, 0.0, 0.5]])
def test_buckets_and_histogram(edges, scaling, batch, candidates, history):
    ids = SimilarityBuckets(4, edges)(_normal(batch, candidates, 6), _normal(batch, history, 6))
    assert tuple(ids.shape) == (batch, candidates, history)
    counts = SimilarityHistogram(4, scaling)(ids, np.ones((batch, history), bool))
    assert tuple(counts.shape) == (batch, candidates, 5)
    assert history or not to_numpy(counts).any()


@pytest.mark.parametrize("batch", [0, 2])
def test_mixing_and_head_of_no_candidates(batch):
    nothing = _normal(batch, 0, 6)
    assert tuple(ComplementaryModalityMixing("gate")(nothing, nothing).shape) == (batch, 0, 6)
    logits = InterestHead((4, 3))(_normal(batch, 5), nothing, nothing)
    assert tuple(logits.shape) == (batch, 0)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
