"""What `sid_coord` computes; `every_model_test` has what holds for all models."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dmf_keras.models import RankingSchema, build_model, model_config
from tests.dmf_keras.models.batches import ITEMS, SCHEMA, requests, small_model, with_item_tables
from tests.dmf_keras.models.by_numpy import dense, ids, mlp_head, softmax, to_numpy, user_features, weighted_model


def semantic(model, row: int) -> np.ndarray | None:
    """e_sid of a catalogue row from its codes; None without."""
    table = to_numpy(model.semantic_ids.table)[row]
    if not table[0]:
        return None
    layer = model.semantic_ids
    embeddings, queries, bias = (to_numpy(weight) for weight in layer.trainable_weights)
    first = np.cumsum([0, 5, 5, 5, 20])
    e = embeddings[first + table - 1]
    return softmax((queries * e).sum(axis=1) + bias) @ e


def item(model, index: int, row: int) -> np.ndarray:
    """e of an item."""
    e_id, e_sid = ids(model, index), semantic(model, row)
    if e_sid is None:
        return e_id
    counts = to_numpy(model.item_statistics.table)[row]
    gate = 1 / (1 + np.exp(-dense(model.gate.logit, np.maximum(dense(model.gate.hidden, counts), 0))))
    return gate * e_id + (1 - gate) * e_sid


def attend(layer, candidate, history):
    if not len(history):
        return np.zeros(8)
    return softmax(dense(layer.key, history) @ dense(layer.query, candidate) / np.sqrt(8)) @ dense(layer.value, history)


def alignment(model, row: int, rows: np.ndarray) -> np.ndarray:
    """Mean and maximum of the embedded cosines of the pairs that have codes on both sides."""
    layer = model.alignment
    scale, kernel, embeddings = (to_numpy(weight) for weight in layer.trainable_weights)
    candidate, found = semantic(model, row), []
    for other in (semantic(model, each) for each in rows):
        if candidate is not None and other is not None:
            h = scale[0] * (candidate @ other / np.linalg.norm(candidate) / np.linalg.norm(other))
            h = np.where(h > 0, h, 0.2 * h)
            found.append(softmax((h @ kernel + layer.skip * h) / layer.temperature) @ embeddings)
    return np.concatenate([np.mean(found, axis=0), np.max(found, axis=0)]) if found else np.zeros(6)


def test_equals_the_equations():
    """One pair at a time, from the weights alone; some items have no codes, and one history is empty."""
    model, x = weighted_model("sid_coord"), requests(6, 4, 5)
    scores = to_numpy(model(x))
    uncoded = 0
    for b, n in np.ndindex(6, 4):
        kept = np.flatnonzero(x["history_index"][b])
        row, rows = x["candidate_content_row"][b, n], x["history_content_row"][b, kept]
        uncoded += semantic(model, row) is None
        e_n = item(model, x["candidate_index"][b, n], row)
        history = [item(model, x["history_index"][b, place], x["history_content_row"][b, place]) for place in kept]
        interest = [attend(model.attention, e_n, np.array(history)), alignment(model, row, rows)]
        read = np.concatenate([user_features(model, x, b), e_n, *interest])
        assert scores[b, n] == pytest.approx(mlp_head(model, read), abs=1e-4)
    assert uncoded > 0


def test_an_item_without_codes_is_its_id():
    model, x = weighted_model("sid_coord"), requests(3, 4, 5)
    nowhere = np.zeros_like(x["candidate_content_row"])
    items = to_numpy(model.item_vectors(x["candidate_index"], nowhere))
    np.testing.assert_array_equal(items[..., :8], ids(model, x["candidate_index"]))
    assert not items[..., 8:].any()


def test_counts_move_the_gate_of_items_with_codes_alone():
    model, x = weighted_model("sid_coord"), requests(3, 6, 5)
    before = to_numpy(model.item_vectors(x["candidate_index"], x["candidate_content_row"]))
    model.item_statistics.set_rows({name: np.full(ITEMS, 9) for name in ("impressions", "positives")})
    moved = (to_numpy(model.item_vectors(x["candidate_index"], x["candidate_content_row"])) != before).any(axis=-1)
    coded = to_numpy(model.semantic_ids.table)[x["candidate_content_row"], 0] > 0
    np.testing.assert_array_equal(moved, coded)


def test_content_that_a_request_carries_changes_nothing():
    model, x = weighted_model("sid_coord"), requests(2, 3, 4)
    carried = {"candidate_content/text": np.ones((2, 3, 6), np.float32)}
    np.testing.assert_array_equal(to_numpy(model({**x, **carried})), to_numpy(model(x)))


def test_counts_that_the_configuration_does_not_name_are_not_read():
    model = small_model({"statistics": ["impressions"]}, name="sid_coord")
    assert model.item_statistics.names == ("impressions",)
    # Other models hold none of these tables, whatever the schema has.
    other = small_model(name="target_attention")
    assert other.item_statistics is None and not hasattr(other, "semantic_ids")


def test_refuses():
    with pytest.raises(ValueError, match=r"SIDCoord reads semantic ids: `schema.item_codes` must name"):
        build_model("sid_coord", {}, dataclasses.replace(SCHEMA, item_codes=()))
    with pytest.raises(ValueError, match=r"`schema.item_statistics` must name impressions. Received: positives"):
        build_model("sid_coord", {}, dataclasses.replace(SCHEMA, item_statistics=("positives",)))
    with pytest.raises(ValueError, match=r"statistics must be of impressions, positives, each once, got \['clicks'\]"):
        model_config("sid_coord", {"statistics": ["clicks"]})
    with pytest.raises(ValueError, match=r"statistics must be a list of at least one name"):
        model_config("sid_coord", {"statistics": []})
    with pytest.raises(ValueError, match=r"bins must be an integer of at least 1, got 0"):
        model_config("sid_coord", {"bins": 0})


def test_one_level_and_one_bin():
    schema = RankingSchema(ITEMS, ITEMS, item_codes=(7,), item_statistics=("impressions",))
    model = with_item_tables(build_model("sid_coord", {"id_dim": 4, "bins": 1}, schema, seed=1))
    assert np.isfinite(to_numpy(model(requests(2, 3, 4)))).all()
