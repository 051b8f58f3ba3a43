"""What `mim` computes; `every_model_test` has what holds for all models."""

from __future__ import annotations

import numpy as np
import pytest

from dmf_keras.models import model_config
from tests.dmf_keras.models.batches import requests
from tests.dmf_keras.models.by_numpy import (
    content,
    cosines,
    dense,
    histograms,
    ids,
    mlp_head,
    softmax,
    to_numpy,
    user_features,
    weighted_model,
)


def _attend(layer, candidate, history):
    if not len(history):
        return np.zeros(8)
    return softmax(dense(layer.key, history) @ dense(layer.query, candidate) / np.sqrt(8)) @ dense(layer.value, history)


def test_equals_the_equations():
    """One pair at a time, from the weights alone; a history of 5 has more and fewer items than the 3 recent ones."""
    model, x = weighted_model("mim"), requests(6, 4, 5)
    scores = to_numpy(model(x))
    lengths = (x["history_index"] > 0).sum(1)
    assert lengths.max() > 3 > lengths[:-1].min()
    for b, n in np.ndindex(6, 4):
        kept = np.flatnonzero(x["history_index"][b])
        row, rows = x["candidate_content_row"][b, n], x["history_content_row"][b, kept]
        e_n, e_h = ids(model, x["candidate_index"][b, n]), ids(model, x["history_index"][b, kept])
        p_n, p_h = content(model, row), content(model, rows)
        recent = cosines(model, row, rows)[0][:, ::-1][:, :3]
        recent = np.pad(recent, ((0, 0), (0, 3 - recent.shape[1]))).ravel()
        interests = [_attend(model.attention, e_n, e_h), _attend(model.content_attention, p_n, p_h)]
        read = [user_features(model, x, b), e_n, p_n, *interests, histograms(model, row, rows), recent]
        assert scores[b, n] == pytest.approx(mlp_head(model, np.concatenate(read)), abs=1e-4)


def test_recent_items_are_counted_from_the_last_real_one():
    """Wherever padding lies."""
    model, x = weighted_model("mim"), requests(3, 4, 5)
    names = ("history_index", "history_content_row")
    inside = {**x, **{name: np.insert(np.pad(x[name], ((0, 0), (2, 1))), 4, 0, axis=1) for name in names}}
    np.testing.assert_allclose(to_numpy(model(inside)), to_numpy(model(x)), atol=1e-4)
    turned = {**x, **{name: x[name][:1, ::-1] for name in names}}
    one = {key: value[:1] for key, value in turned.items()}
    assert np.abs(to_numpy(model(one)) - to_numpy(model(x))[:1]).max() > 1e-4, "an older item is another position"


def test_refuses():
    with pytest.raises(ValueError, match="recent must be an integer of at least 1, got 0"):
        model_config("mim", {"recent": 0})
