"""What `diff_msin` computes; `every_model_test` has what holds for all models."""

from __future__ import annotations

from itertools import combinations

import keras
import numpy as np
import pytest

from dmf_keras.models import model_config
from tests.dmf_keras.layers.streams_by_numpy import cross_modal, experts, sigmoids, synergy
from tests.dmf_keras.models.batches import requests, small_model
from tests.dmf_keras.models.by_numpy import (
    content,
    dense,
    ids,
    mlp_head,
    softmax,
    to_numpy,
    user_features,
    weighted_model,
)

STREAMS = 3


def _streams(model, index, rows):
    """z of items [S, ..., d], and which items have each stream [S, ...]."""
    known = [np.ones(index.shape, bool), *(to_numpy(table.present)[rows] for table in model.content.values())]
    projected = np.split(content(model, rows), STREAMS - 1, axis=-1)
    return np.stack([dense(model.id_projection, ids(model, index)), *projected]), np.stack(known)


def _pooled(layer, candidate, history):
    """Target attention over the items that are there."""
    query, keys, values = (
        dense(one, x).reshape(-1, layer.heads, layer.head_width)
        for one, x in ((layer.query, candidate), (layer.key, history), (layer.value, history))
    )
    weights = softmax(np.einsum("qha,lha->hl", query, keys) / np.sqrt(layer.head_width))
    return np.einsum("hl,lha->ha", weights, values).ravel()


def _of_pair(model, x, b, n):
    """Outputs of the experts for candidate and history, and which streams each has."""
    kept = np.flatnonzero(x["history_index"][b])
    z_n, has = _streams(model, x["candidate_index"][b, n], x["candidate_content_row"][b, n])
    z_h, have = _streams(model, x["history_index"][b, kept], x["history_content_row"][b, kept])
    pooled = np.zeros_like(z_n)
    for s in range(STREAMS):
        if have[s].any():
            pooled[s] = _pooled(model.attentions[s], z_n[s], z_h[s][have[s]])
    of_candidate = experts(model.experts, z_n, np.flatnonzero(has).tolist())
    of_history = experts(model.experts, pooled, np.flatnonzero(have.any(1)).tolist())
    return of_candidate, of_history


def _synergy(model, mixed, width):
    streams = np.array([mixed.get(s, np.zeros(width)) for s in range(STREAMS)])
    return synergy(model.synergy, streams, sorted(mixed))


def test_equals_the_equations():
    """One pair at a time, from the weights alone; some items have no content, one history is empty."""
    model, x = weighted_model("diff_msin", heads=2), requests(4, 5, 5)
    scores, width = to_numpy(model(x)), 4
    assert model.config.synergy_steps == 3, "that of the reference"
    for b, n in np.ndindex(4, 5):
        (own, *_), (mixed, _, _, mean) = _of_pair(model, x, b, n)
        entries = [*(mixed.get(s, np.zeros(width)) for s in range(1, STREAMS)), mean, _synergy(model, mixed, width)]
        first = crossed = sigmoids([model.gate_hidden, model.gate], own[0]) * np.concatenate(entries)
        for kernel, bias in zip(model.cross.kernels, model.cross.biases, strict=True):
            crossed = first * (crossed @ to_numpy(kernel)) + to_numpy(bias) + crossed
        parts = crossed.reshape(STREAMS + 1, width)
        attended = cross_modal(model.id_attention, mixed.get(0, np.zeros(width)), parts.mean(0))
        row = x["candidate_content_row"][b, n]
        item = [ids(model, x["candidate_index"][b, n]), content(model, row)]
        read = np.concatenate([user_features(model, x, b), *item, crossed, attended])
        assert scores[b, n] == pytest.approx(mlp_head(model, read), abs=1e-3)


def _cosine(one, other):
    norms = np.linalg.norm(one) * np.linalg.norm(other)
    return one @ other / norms if norms > 1e-12 else 0.0


def _average(found):
    values, weights = np.array(found).T
    return np.average(values, weights=weights)


def test_losses_equal_the_equations(monkeypatch):
    """Of real candidates by their weights; the hinge leaves out those without a history. Noise is off."""
    model, x = weighted_model("diff_msin", heads=2), requests(4, 5, 5)
    monkeypatch.setattr(model.synergy, "noise", keras.ops.zeros_like)
    x["candidate_index"][:, 3:] = 0
    rng = np.random.default_rng(3)
    y, weights = rng.integers(0, 2, (4, 5)).astype(np.float32), rng.uniform(0.5, 2, (4, 5)).astype(np.float32)
    cosines, hinges = {}, []
    for b, n in np.ndindex(4, 3):
        sides = dict(zip(("candidate", "history"), _of_pair(model, x, b, n), strict=True))
        for side, (_, specific, shared, _) in sides.items():
            for kind, outputs in (("specific", specific), ("shared", shared)):
                for i, j in combinations(sorted(outputs), 2):
                    found = (_cosine(outputs[i], outputs[j]), weights[b, n])
                    cosines.setdefault((side, kind), {}).setdefault((i, j), []).append(found)
        if x["history_index"][b].any():
            c = _cosine(*(_synergy(model, mixed, 4) for mixed, *_ in sides.values()))
            hinges.append((max(0, 1 - c) if y[b, n] else max(0, 1 + c), weights[b, n]))
    mean = {key: np.mean([_average(found) for found in of.values()]) for key, of in cosines.items()}
    decoupling = sum(mean[side, "specific"] - mean[side, "shared"] for side in ("candidate", "history")) / 2
    model.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    history = model.fit(x, y, sample_weight=weights, verbose=0, batch_size=4).history
    assert history["loss/decoupling"][0] == pytest.approx(decoupling, abs=1e-4)
    assert history["loss/synergy"][0] == pytest.approx(_average(hinges), abs=1e-4)
    plain = model.evaluate(x, y, sample_weight=weights, verbose=0)
    total = plain + 0.01 * (history["loss/decoupling"][0] + history["loss/synergy"][0])
    assert history["loss"][0] == pytest.approx(total, rel=1e-5)


def test_without_weights_there_are_no_terms():
    model = small_model({"decoupling_weight": 0, "synergy_weight": 0.0}, name="diff_msin")
    model.compile("adam")
    assert [metric.name for metric in model.metrics] == ["loss"]


def test_noise_is_of_training_alone():
    model, x = small_model(name="diff_msin"), requests(3, 4, 5)
    np.testing.assert_array_equal(to_numpy(model(x)), to_numpy(model(x)))
    first, second = (to_numpy(model(x, training=True)) for _ in range(2))
    assert np.abs(first - second).max() > 1e-6


@pytest.mark.parametrize(("params", "message"), [
    ({"content_dim": 6}, r"content_dim must be a multiple of heads \(4\), got 6"),
    ({"heads": 0}, "heads must be an integer of at least 1, got 0"),
    ({"synergy_steps": 0}, "synergy_steps must be an integer of at least 1, got 0"),
    ({"expert_units": ()}, "expert_units"),
    ({"synergy_weight": -1}, "synergy_weight"),
])  # fmt: skip
def test_refuses(params, message):
    with pytest.raises(ValueError, match=message):
        model_config("diff_msin", params)
