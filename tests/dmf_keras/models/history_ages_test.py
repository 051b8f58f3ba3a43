"""Models over a schema with ages of history items."""

from __future__ import annotations

import dataclasses
import functools

import keras
import numpy as np
import pytest

from dmf_keras.models import RankingSchema, model_names
from tests.dmf_keras.models.batches import SCHEMA, requests, small_model
from tests.dmf_keras.models.expected import MODELS

to_numpy = keras.ops.convert_to_numpy
BUCKETS = 6
WITH_AGES = dataclasses.replace(SCHEMA, history_age_buckets=BUCKETS)
every_model = pytest.mark.parametrize("name", model_names())
WITH_TABLES = [name for name in model_names() if MODELS[name].ages]


def model_of(name, schema=WITH_AGES, **params):
    model = small_model(params, name=name, schema=schema)
    rng = np.random.default_rng(1)
    for weight in model.trainable_variables:
        weight.assign(rng.normal(scale=MODELS[name].scale, size=weight.shape))
    return model


# For tests that leave its weights as they are.
kept = functools.cache(model_of)


def aged(*shape, seed=2):
    """Requests with ages of a second to thirty years; one in five is not known, and padding has none."""
    x = requests(*shape)
    rng = np.random.default_rng(seed)
    ages = np.exp(rng.uniform(0, np.log(1e9), x["history_index"].shape))
    unknown = (rng.random(ages.shape) < 0.2) | (x["history_index"] == 0)
    return {**x, "history_age": np.where(unknown, np.nan, ages).astype("float32")}


def of_ages(weight):
    return any(part.startswith("age_") for part in weight.path.split("/"))


@every_model
class TestEveryModel:
    def test_ages_are_read_where_it_says_so(self, name):
        model, x = kept(name), aged(3, 6, 5)
        assert model.uses_history_ages == MODELS[name].ages
        scores = to_numpy(model(x))
        others = to_numpy(model({**x, "history_age": np.where(x["history_age"] > 3600, 5.0, 1e7).astype("float32")}))
        assert np.isfinite(scores).all()
        assert np.allclose(scores, others, atol=1e-6) != MODELS[name].ages
        without = {key: value for key, value in x.items() if key != "history_age"}
        if MODELS[name].ages:
            with pytest.raises(ValueError, match="missing inputs: history_age"):
                model(without)
        else:
            np.testing.assert_array_equal(to_numpy(model(without)), scores)

    @pytest.mark.parametrize("filler", [np.nan, 5.0, np.inf, 1e38])
    def test_padding_may_have_any_age(self, name, filler):
        model, x = kept(name), aged(3, 4, 5)
        padded = dict(x)
        for key in ("history_index", "history_content_row"):
            padded[key] = np.pad(x[key], ((0, 0), (2, 1)))
        ages = np.where(x["history_index"] == 0, np.float32(filler), x["history_age"])
        padded["history_age"] = np.pad(ages, ((0, 0), (2, 1)), constant_values=np.float32(filler))
        np.testing.assert_allclose(to_numpy(model(padded)), to_numpy(model(x)), atol=1e-5)

    def test_a_page_of_candidates_is_scored_by_the_state(self, name):
        model, x = kept(name), aged(3, 6, 5)
        state = model.encode_user({key: value for key, value in x.items() if not key.startswith("candidate")})
        part = {key: x[key][:, 2:4] for key in ("candidate_index", "candidate_content_row")}
        np.testing.assert_allclose(to_numpy(model.score(state, part)), to_numpy(model(x))[:, 2:4], atol=1e-5)

    def test_an_empty_history_has_no_ages(self, name):
        model, x = kept(name), aged(2, 3, 0)
        assert np.isfinite(to_numpy(model(x))).all()
        padding = {key: np.zeros((2, 4), x[key].dtype) for key in ("history_index", "history_content_row")}
        padding["history_age"] = np.full((2, 4), np.nan, "float32")
        np.testing.assert_allclose(to_numpy(model(x)), to_numpy(model(x | padding)), atol=1e-6)

    def test_without_ages_there_is_nothing_new(self, name):
        model = model_of(name, SCHEMA)
        assert not model.uses_history_ages and "age" not in model.get_config()["schema"]
        assert not [weight.path for weight in model.weights if of_ages(weight)]

    def test_explains_and_learns_and_loads(self, name, tmp_path):
        model, x = model_of(name), aged(16, 4, 5)
        told = {key: to_numpy(value) for key, value in model.explain(model.encode_user(x), x).items()}
        parts = sum(value for key, value in told.items() if key.startswith("contribution_"))
        np.testing.assert_allclose(told["base_logit"] + parts, told["logit"], atol=1e-4)
        np.testing.assert_allclose(told["logit"], to_numpy(model(x)), atol=1e-4)
        before = [to_numpy(layer.table).copy() for layer in model.ages.values()]
        # To build the graph of a step takes as long as dozens of steps without one.
        model.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
        assert np.isfinite(model.train_on_batch(x, x["candidate_index"] % 2)).all()
        for one, layer in zip(before, model.ages.values(), strict=True):
            moved = np.abs(to_numpy(layer.table) - one).max(axis=1)
            # Ids that no real item of the batch has stay.
            ids = set(to_numpy(layer.bucket_ids(x["history_age"]))[x["history_index"] > 0].tolist())
            assert set(np.flatnonzero(moved).tolist()) <= ids and moved.any()
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        assert loaded.schema == WITH_AGES
        np.testing.assert_array_equal(to_numpy(loaded(x)), to_numpy(model(x)))


def softmax(logits):
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def test_target_attention_equals_numpy():
    """q . (k_j + E_K[b_j]) and w_nj (v_j + E_V[b_j]), of a full history."""
    model, x = model_of("target_attention"), aged(1, 3, 4)
    embedded = to_numpy(model.item_embedding.embeddings)
    history, candidates = embedded[x["history_index"][0]], embedded[x["candidate_index"][0]]
    ids = to_numpy(model.ages["keys"].bucket_ids(x["history_age"]))[0]
    layer = model.attention
    keys = history @ to_numpy(layer.key.kernel) + to_numpy(model.ages["keys"].table)[ids]
    values = history @ to_numpy(layer.value.kernel) + to_numpy(model.ages["values"].table)[ids]
    query = candidates @ to_numpy(layer.query.kernel) + to_numpy(layer.query.bias)
    real = x["history_index"][0] > 0
    expected = softmax(query @ keys.T / np.sqrt(keys.shape[-1]) + np.where(real, 0, -1e9)) @ values
    state = model.encode_user(x)
    found = model.interest(state, model.candidate_items(x), x, training=False)
    assert model.attention.heads == 1
    np.testing.assert_allclose(to_numpy(found)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["din", "mean_pooling", "early_fusion"])
def test_others_add_the_age_to_the_item(name):
    """A schema without ages and items that are those of the other with E[b] added score the same."""
    model, x = model_of(name), aged(2, 3, 4)
    plain = model_of(name, SCHEMA)
    for one, other in zip(plain.weights, [weight for weight in model.weights if not of_ages(weight)], strict=True):
        one.assign(other)
    added = to_numpy(model.ages["history"](x["history_age"]))
    plain.history_items = lambda inputs: model.history_items(inputs) + added
    np.testing.assert_allclose(to_numpy(plain(x)), to_numpy(model(x)), atol=1e-5)


def test_tables_are_as_wide_as_what_they_are_added_to():
    model = model_of("dmf")
    assert {key: tuple(layer.table.shape) for key, layer in model.ages.items()} == {
        "keys": (BUCKETS + 1, 8),
        "values": (BUCKETS + 1, 8),
    }
    assert not model_of("dmf", mixing="fixed", alpha=0.0).ages


@pytest.mark.parametrize("buckets", [0, 2, True, 3.0])
def test_a_schema_refuses_what_are_no_buckets(buckets):
    with pytest.raises(ValueError, match="history_age_buckets must be an integer of at least"):
        RankingSchema(item_rows=3, content_rows=3, history_age_buckets=buckets)


def test_the_name_of_a_column_is_taken_only_where_there_are_ages():
    columns = {"item_rows": 3, "content_rows": 3, "numeric": ("history_age",)}
    assert RankingSchema(**columns)
    with pytest.raises(ValueError, match="'history_age' is taken by the model's own input"):
        RankingSchema(**columns, history_age_buckets=3)
