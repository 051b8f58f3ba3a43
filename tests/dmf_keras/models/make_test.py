"""What `make` computes; `every_model_test` has what holds for all models, `parity_test` what the original has."""

from __future__ import annotations

import numpy as np
import pytest

from tests.dmf_keras.models.batches import requests
from tests.dmf_keras.models.by_numpy import (
    dense,
    histograms,
    joined,
    mlp_head,
    softmax,
    to_numpy,
    user_features,
    weighted_model,
)


def test_equals_the_equations():
    """One pair at a time, from the weights alone, with ReLU in the unit."""
    model, x = weighted_model("make", activation="relu"), requests(3, 4, 5)
    unit, scores = model.activation_unit, to_numpy(model(x))
    for b, n in np.ndindex(3, 4):
        kept = np.flatnonzero(x["history_index"][b])
        row, rows = x["candidate_content_row"][b, n], x["history_content_row"][b, kept]
        x_n = joined(model, x["candidate_index"][b, n], row)
        x_h = joined(model, x["history_index"][b, kept], rows)
        interest = np.zeros(16)
        if kept.size:
            pairs = np.concatenate([np.broadcast_to(x_n, x_h.shape), x_h, x_n - x_h, x_n * x_h], -1)
            hidden = np.maximum(pairs @ to_numpy(unit.kernel) + to_numpy(unit.bias), 0)
            interest = softmax(dense(unit.dense[-1], hidden)[:, 0]) @ x_h
        read = [user_features(model, x, b), x_n, interest, histograms(model, row, rows)]
        assert scores[b, n] == pytest.approx(mlp_head(model, np.concatenate(read)), abs=1e-4)


def test_weights_told_sum_to_one():
    model, x = weighted_model("make"), requests(3, 4, 5)
    weights = to_numpy(model.explain(model.encode_user(x), x)["activation"])
    np.testing.assert_allclose(weights.sum(-1), [[1] * 4, [1] * 4, [0] * 4], atol=1e-5)
