"""Layers over streams of modalities by NumPy from their weights alone, for one row at a time."""

from __future__ import annotations

from math import erf
from typing import Any

import numpy as np

from tests.dmf_keras.models.by_numpy import dense, softmax, to_numpy


def cross_modal(layer: Any, own: np.ndarray, source: np.ndarray) -> np.ndarray:
    """y of `CrossModalAttention` for x and s [D]."""
    query, key, value = (
        dense(one, x).reshape(layer.heads, -1)
        for one, x in ((layer.query, own), (layer.key, source), (layer.value, source))
    )
    weights = softmax((query * key).sum(-1) / np.sqrt(query.shape[-1]))
    return own + float(to_numpy(layer.scale)) * dense(layer.output_projection, (weights[:, None] * value).ravel())


def sigmoids(layers: list[Any], x: np.ndarray) -> np.ndarray:
    """Dense layers with a sigmoid each."""
    for layer in layers:
        x = 1 / (1 + np.exp(-dense(layer, x)))
    return x


def experts(layer: Any, streams: Any, there: list[int]) -> tuple[Any, ...]:
    """Of `ModalityExperts` mixed, specific and shared outputs by stream, of those of `there`, and the shared mean."""

    def expert(layers: list[Any], x: np.ndarray) -> np.ndarray:
        for one in layers:
            x = np.maximum(dense(one, x), 0)
        return x

    shared = {s: expert(layer.shared_expert, streams[s]) for s in there}
    mean = sum(shared.values()) / len(there) if there else np.zeros(layer.width)
    specific = {s: expert(layer.specific_experts[s], streams[s]) for s in there}
    gates = {s: sigmoids(layer.gates[s], specific[s]) for s in there}
    mixed = {s: gates[s] * specific[s] + (1 - gates[s]) * mean for s in there}
    return mixed, specific, shared, mean


def synergy(layer: Any, streams: np.ndarray, there: list[int], noise: np.ndarray | None = None) -> np.ndarray:
    """y of `ModalSynergy` for streams [S, D] of which those of `there` exist; noise [T, S, D]."""
    if not there:
        return np.zeros(layer.width)
    held = {s: streams[s].astype(float) for s in there}
    bars = np.cos(0.45 * np.pi * np.arange(layer.steps + 1) / layer.steps) ** 2
    for t in range(layer.steps):
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
                predicted = cross_modal(layer.attention[s], noisy[s], source)
            held[s] = (noisy[s] - (1 - kept) / np.sqrt(1 - bars[t + 1]) * predicted) / np.sqrt(kept)
    joined = np.concatenate([held.get(s, np.zeros(layer.width)) for s in range(len(streams))])
    joined = (joined - joined.mean()) / np.sqrt(joined.var() + 1e-5) * to_numpy(layer.norm.gamma)
    hidden = dense(layer.hidden, joined + to_numpy(layer.norm.beta))
    return dense(layer.output_projection, np.array([x / 2 * (1 + erf(x / np.sqrt(2))) for x in hidden]))
