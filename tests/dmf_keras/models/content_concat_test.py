"""What `content_concat` computes; `every_model_test` has what holds for all models."""

from __future__ import annotations

import numpy as np
import pytest

from dmf_keras.models import RankingSchema
from tests.dmf_keras.models.batches import requests, small_model
from tests.dmf_keras.models.by_numpy import dense, joined, mlp_head, softmax, to_numpy, user_features, weighted_model


@pytest.mark.parametrize("pooling", ["attention", "mean"])
def test_equals_the_equations(pooling):
    """One pair at a time, from the weights alone."""
    model, x = weighted_model("content_concat", pooling=pooling), requests(3, 4, 5)
    scores = to_numpy(model(x))
    for b, n in np.ndindex(3, 4):
        kept = np.flatnonzero(x["history_index"][b])
        x_n = joined(model, x["candidate_index"][b, n], x["candidate_content_row"][b, n])
        x_h = joined(model, x["history_index"][b, kept], x["history_content_row"][b, kept])
        if pooling == "mean":
            read = [user_features(model, x, b), x_h.mean(0) if kept.size else np.zeros(16), x_n]
        else:
            interest = np.zeros(8)
            if kept.size:
                logits = dense(model.attention.key, x_h) @ dense(model.attention.query, x_n) / np.sqrt(8)
                interest = softmax(logits) @ dense(model.attention.value, x_h)
            read = [user_features(model, x, b), x_n, interest]
        assert scores[b, n] == pytest.approx(mlp_head(model, np.concatenate(read)), abs=1e-4)


def test_a_mean_has_no_attention_and_is_a_part_of_the_user():
    model, x = weighted_model("content_concat", pooling="mean"), requests(3, 4, 5)
    assert not [weight.path for weight in model.weights if "attention" in weight.path]
    state = model.encode_user(x)
    assert sorted(state) == ["history_mask", "pooled", "user_part"]
    told = {name: to_numpy(value) for name, value in model.explain(state, x).items()}
    parts = ("item", "user", "columns", "history")
    total = told["base_logit"] + sum(told[f"contribution_{part}"] for part in parts)
    np.testing.assert_allclose(told["logit"], to_numpy(model(x)), atol=1e-5)
    np.testing.assert_allclose(total, told["logit"], atol=1e-4)
    np.testing.assert_allclose(told["contribution_history"][-1], 0, atol=1e-5)


@pytest.mark.parametrize("pooling", ["attention", "mean"])
def test_content_that_a_request_carries_is_joined(pooling):
    model, x = weighted_model("content_concat", pooling=pooling), requests(2, 4, 5)
    rows = x["candidate_content_row"]
    carried = {f"candidate_content/{name}": to_numpy(content(rows)[0]) * 3 for name, content in model.content.items()}
    without_rows = {**x, "candidate_content_row": np.zeros_like(rows)}
    np.testing.assert_allclose(to_numpy(model({**without_rows, **carried})), to_numpy(model(x)), atol=1e-4)
    assert np.abs(to_numpy(model(without_rows)) - to_numpy(model(x))).max() > 1e-3


def test_needs_content():
    with pytest.raises(ValueError, match=r"ContentConcat reads content: .* must name at least one"):
        small_model(schema=RankingSchema(item_rows=9, content_rows=9), name="content_concat")
