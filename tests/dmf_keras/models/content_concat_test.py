"""What `content_concat` computes; `every_model_test` has what holds for all models."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from dmf_keras.models import RankingSchema
from tests.dmf_keras.models.batches import requests, small_model

to_numpy = keras.ops.convert_to_numpy


def joined(model, index, rows):
    """x of items, [W, J], by NumPy."""
    parts = [to_numpy(model.item_embedding.embeddings)[index]]
    for name, content in model.content.items():
        table, present = to_numpy(content.table).astype(np.float32), to_numpy(content.present)
        dense = model.projections[name].dense
        projected = table[rows] @ to_numpy(dense.kernel) + to_numpy(dense.bias)
        parts.append(np.where(present[rows][:, None], projected, 0))
    return np.concatenate(parts, -1)


def _weighted(name="content_concat", **params):
    """A model whose biases are not zero."""
    model = small_model(params, name=name)
    rng = np.random.default_rng(1)
    for weight in model.trainable_variables:
        weight.assign(rng.normal(scale=0.5, size=weight.shape))
    return model


def _dense(layer, rows):
    return rows @ to_numpy(layer.kernel) + (0 if layer.bias is None else to_numpy(layer.bias))


@pytest.mark.parametrize("pooling", ["attention", "mean"])
def test_equals_the_equations(pooling):
    """One pair at a time, from the weights alone."""
    model, x = _weighted(pooling=pooling), requests(3, 4, 5)
    scores = to_numpy(model(x))
    for b, n in np.ndindex(3, 4):
        kept = np.flatnonzero(x["history_index"][b])
        x_n = joined(model, x["candidate_index"][b, [n]], x["candidate_content_row"][b, [n]])[0]
        x_h = joined(model, x["history_index"][b, kept], x["history_content_row"][b, kept])
        user = [to_numpy(model.column_embeddings[name].embeddings)[x[name][b]] for name in ("gender", "hour")]
        user += [to_numpy(model.user_embedding.embeddings)[x["user_index"][b]], [x["age"][b]], [x["price"][b]]]
        if pooling == "mean":
            read = [*user, x_h.mean(0) if kept.size else np.zeros(16), x_n]
        else:
            attention, interest = model.attention, np.zeros(8)
            if kept.size:
                logits = _dense(attention.key, x_h) @ _dense(attention.query, x_n) / np.sqrt(8)
                exponents = np.exp(logits - logits.max())
                interest = exponents / exponents.sum() @ _dense(attention.value, x_h)
            read = [*user, x_n, interest]
        hidden = np.maximum(np.concatenate(read) @ to_numpy(model.head.kernel) + to_numpy(model.head.bias), 0)
        *middle, last = [layer for layer in model.head.tail if isinstance(layer, keras.layers.Dense)]
        for layer in middle:
            hidden = np.maximum(_dense(layer, hidden), 0)
        assert scores[b, n] == pytest.approx(_dense(last, hidden)[0], abs=1e-4)


def test_a_mean_has_no_attention_and_is_a_part_of_the_user():
    model, x = _weighted(pooling="mean"), requests(3, 4, 5)
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
    model, x = _weighted(pooling=pooling), requests(2, 4, 5)
    rows = x["candidate_content_row"]
    carried = {f"candidate_content/{name}": to_numpy(content(rows)[0]) * 3 for name, content in model.content.items()}
    without_rows = {**x, "candidate_content_row": np.zeros_like(rows)}
    np.testing.assert_allclose(to_numpy(model({**without_rows, **carried})), to_numpy(model(x)), atol=1e-4)
    assert np.abs(to_numpy(model(without_rows)) - to_numpy(model(x))).max() > 1e-3


def test_needs_content():
    with pytest.raises(ValueError, match=r"ContentConcat reads content: .* must name at least one"):
        small_model(schema=RankingSchema(item_rows=9, content_rows=9), name="content_concat")
