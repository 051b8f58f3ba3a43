"""What `muse` computes; `every_model_test` has what holds for all models, `parity_test` what the original has."""

from __future__ import annotations

import numpy as np
import pytest

from tests.dmf_keras.models.batches import requests
from tests.dmf_keras.models.by_numpy import (
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


@pytest.mark.parametrize("heads", [1, 2])
def test_equals_the_equations(heads):
    """One pair at a time, from the weights alone."""
    model, x = weighted_model("muse", heads=heads), requests(3, 4, 5)
    layer, scores = model.attention, to_numpy(model(x))
    product, cosine_gain, joint = (to_numpy(g) for g in (layer.product_gain, layer.cosine_gain, layer.joint_gain))
    for b, n in np.ndindex(3, 4):
        kept = np.flatnonzero(x["history_index"][b])
        row, rows = x["candidate_content_row"][b, n], x["history_content_row"][b, kept]
        e_n, e_h = ids(model, x["candidate_index"][b, n]), ids(model, x["history_index"][b, kept])
        interest = np.zeros((heads, 8 // heads))
        r = cosines(model, row, rows)[0] / 0.1
        query = dense(layer.query, e_n).reshape(heads, -1)
        keys, values = (dense(part, e_h).reshape(len(kept), heads, 8 // heads) for part in (layer.key, layer.value))
        for h in range(heads if kept.size else 0):
            s = keys[:, h] @ query[h] / np.sqrt(8 / heads)
            logits = product[h] * s + cosine_gain[:, h] @ r + s * (joint[:, h] @ r)
            interest[h] = softmax(logits) @ values[:, h]
        read = [user_features(model, x, b), e_n, interest.ravel(), histograms(model, row, rows)]
        assert scores[b, n] == pytest.approx(mlp_head(model, np.concatenate(read)), abs=1e-4)


def test_cosines_move_the_weights():
    model, x = weighted_model("muse"), requests(2, 4, 5)
    told = model.explain(model.encode_user(x), x)
    for name in ("attention", "similarity_text", "similarity_image"):
        assert np.ptp(to_numpy(told[name])[0], axis=0).max() > 1e-3, name
    model.attention.cosine_gain.assign(np.zeros((2, 1)))
    model.attention.joint_gain.assign(np.zeros((2, 1)))
    without = model.explain(model.encode_user(x), x)
    assert np.abs(to_numpy(told["attention"]) - to_numpy(without["attention"])).max() > 1e-3
