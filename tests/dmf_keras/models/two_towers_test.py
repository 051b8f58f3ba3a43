"""What `two_towers` computes; `every_model_test` has what holds for all models."""

from __future__ import annotations

import numpy as np
import pytest

from dmf_keras.models import RankingSchema, model_config
from tests.dmf_keras.models.batches import SCHEMA, requests, small_model
from tests.dmf_keras.models.by_numpy import joined, to_numpy, user_features, weighted_model


def _tower(layers, vector):
    dense = [layer for layer in layers if hasattr(layer, "kernel")]
    for place, layer in enumerate(dense):
        vector = vector @ to_numpy(layer.kernel) + to_numpy(layer.bias)
        vector = vector if place == len(dense) - 1 else vector / (1 + np.exp(-vector))
    return vector / np.linalg.norm(vector)


def _pooled(model, items):
    if not len(items):
        return np.zeros(16)
    if model.config.pooling == "mean":
        return items.mean(0)
    layer, ages = model.pooling, np.arange(len(items))[::-1]
    logits = np.tanh(items @ to_numpy(layer.dense.kernel) + to_numpy(layer.dense.bias)) @ to_numpy(layer.vector)
    logits = logits + to_numpy(layer.recency)[np.minimum(ages, model.config.positions - 1)]
    weights = np.exp(logits - logits.max())
    return weights / weights.sum() @ items


@pytest.mark.parametrize("pooling", ["attention", "mean"])
def test_equals_the_equations(pooling):
    """One pair at a time, from the weights alone."""
    model, x = weighted_model("two_towers", pooling=pooling, positions=2), requests(3, 4, 5)
    scores, users, items = (to_numpy(each) for each in (model(x), model.user_tower(x), model.item_tower(x)))
    scale = np.exp(to_numpy(model.head.log_scale))
    for b in range(3):
        kept = np.flatnonzero(x["history_index"][b])
        history = joined(model, x["history_index"][b, kept], x["history_content_row"][b, kept])
        # As a state the pooled history comes after profile and context.
        user = np.concatenate([user_features(model, x, b), _pooled(model, history)])
        u = scale * _tower(model.head.users, user)
        np.testing.assert_allclose(users[b], u, rtol=1e-4, atol=1e-4)
        for n in range(4):
            v = _tower(model.head.items, joined(model, x["candidate_index"][b, n], x["candidate_content_row"][b, n]))
            np.testing.assert_allclose(items[b, n], v, atol=1e-4)
            assert scores[b, n] == pytest.approx(u @ v + to_numpy(model.head.bias)[0], abs=1e-3)


def test_without_content_it_reads_ids():
    model = small_model({"content_dim": 0}, name="two_towers")
    assert model.item_width() == model.config.id_dim and not model.projections
    model = small_model(schema=RankingSchema(item_rows=9, content_rows=9), name="two_towers")
    assert model.item_width() == model.config.id_dim


def test_training_shows_some_items_as_out_of_vocabulary():
    model = weighted_model("two_towers", id_dropout=0.5)
    x = requests(64, 4, 5)
    seen, trained = (to_numpy(model.item_tower(x, training)) for training in (False, True))
    unknown = {**x, "candidate_index": np.full_like(x["candidate_index"], SCHEMA.item_rows - 1)}
    as_unknown = to_numpy(model.item_tower(unknown))
    same, changed = np.isclose(trained, seen, atol=1e-5).all(-1), np.isclose(trained, as_unknown, atol=1e-5).all(-1)
    assert (same | changed).all() and 0.35 < changed.mean() < 0.65
    assert np.abs(to_numpy(model.user_tower(x, True)) - to_numpy(model.user_tower(x))).max() > 1e-3
    # Padding is no item.
    np.testing.assert_array_equal(to_numpy(model.encode_user(x, True)["history_mask"]), x["history_index"] > 0)
    still = weighted_model("two_towers", id_dropout=0.0)
    np.testing.assert_array_equal(to_numpy(still.item_tower(x, True)), to_numpy(still.item_tower(x)))


def test_a_user_without_anything_has_a_vector():
    model = small_model(schema=RankingSchema(item_rows=9, content_rows=9), name="two_towers")
    nothing = {name: np.zeros((1, 0), np.int32) for name in ("history_index", "history_content_row")}
    found = to_numpy(model.user_tower(nothing))
    assert found.shape == (1, 64) and np.isfinite(found).all()


@pytest.mark.parametrize(("params", "message"), [
    ({"pooling": "sum"}, "pooling must be one of attention, mean, got 'sum'"),
    ({"dim": 0}, "dim must be an integer of at least 1, got 0"),
    ({"content_dim": -1}, "content_dim must be an integer of at least 0, got -1"),
    ({"id_dropout": 1}, "id_dropout must be a number from 0 to 0.95, got 1"),
    ({"temperature": 0.001}, "temperature must be a number from 0.01 to 100, got 0.001"),
])  # fmt: skip
def test_refuses_parameters(params, message):
    with pytest.raises(ValueError, match=message):
        model_config("two_towers", params)
