"""Models over a schema with further histories."""

from __future__ import annotations

import dataclasses
import functools

import keras
import numpy as np
import pytest

from dmf_keras.models import RankingModel, RankingSchema, model_config, model_names
from tests.dmf_keras.models.batches import SCHEMA, requests, small_model
from tests.dmf_keras.models.expected import MODELS
from tests.dmf_keras.models.topics import ITEMS, TOPICS, auc_of_trained

to_numpy = keras.ops.convert_to_numpy
NAMES = ("buys", "carts")
FURTHER = dataclasses.replace(SCHEMA, histories=NAMES, history_age_buckets=5)
every_model = pytest.mark.parametrize("name", model_names())
OF_HISTORY = ("history_index", "history_content_row", "history_age")


def model_of(name, schema=FURTHER, **params):
    model = small_model(params, name=name, schema=schema)
    rng = np.random.default_rng(1)
    for weight in model.trainable_variables:
        weight.assign(rng.normal(scale=MODELS[name].scale, size=weight.shape))
    return model


# For tests that leave its weights as they are.
kept = functools.cache(model_of)


def drawn(batch, candidates, length, seed=0):
    """Requests of `FURTHER`: three histories of their own lengths, the last of several empty."""
    x = requests(batch, candidates, length, seed)
    rng = np.random.default_rng(seed)
    x["history_age"] = np.exp(rng.uniform(0, 20, x["history_index"].shape)).astype("float32")
    for place, name in enumerate(NAMES, start=1):
        own = requests(batch, candidates, length + place, seed + place)
        own["history_age"] = np.exp(rng.uniform(0, 20, own["history_index"].shape)).astype("float32")
        x |= {f"{key}/{name}": own[key] for key in OF_HISTORY}
    return x


@every_model
class TestEveryModel:
    def test_padding_order_and_a_page_change_nothing(self, name):
        model, x = kept(name), drawn(3, 6, 4)
        scores = to_numpy(model(x))
        assert np.isfinite(scores).all()
        padded = dict(x)
        for key in x:
            if key.partition("/")[0] in OF_HISTORY:
                filler = np.nan if key.startswith("history_age") else 0
                padded[key] = np.pad(x[key], ((0, 0), (2, 1)), constant_values=filler)
        np.testing.assert_allclose(to_numpy(model(padded)), scores, atol=1e-5)
        # One page of the candidates, in another order, against the state.
        state = model.encode_user({key: value for key, value in x.items() if not key.startswith("candidate")})
        page = {key: x[key][:, [4, 1]] for key in ("candidate_index", "candidate_content_row")}
        np.testing.assert_allclose(to_numpy(model.score(state, page)), scores[:, [4, 1]], atol=1e-5)

    def test_each_history_counts_and_no_other_stands_for_it(self, name):
        model, x = kept(name), drawn(3, 6, 4)
        scores = to_numpy(model(x))
        for history in NAMES:
            empty = {**x, **{f"{key}/{history}": np.zeros_like(x[f"{key}/{history}"]) for key in OF_HISTORY[:2]}}
            assert np.abs(to_numpy(model(empty)) - scores)[:2].max() > 1e-5
        swapped = dict(x)
        for key in OF_HISTORY:
            swapped[f"{key}/buys"], swapped[f"{key}/carts"] = x[f"{key}/carts"], x[f"{key}/buys"]
        assert np.abs(to_numpy(model(swapped)) - scores)[:2].max() > 1e-5
        with pytest.raises(ValueError, match=r"missing inputs: .*history_index/carts"):
            model({key: value for key, value in x.items() if not key.endswith("/carts")})

    def test_it_is_factored_and_shares_items_and_content(self, name):
        model, x = kept(name), drawn(2, 7, 4)
        for own in model.further.values():
            assert own.content.keys() == model.content.keys()
            assert all(own.content[key] is layer for key, layer in model.content.items())
            names = {part for weight in own.trainable_variables for part in weight.path.split("/")}
            assert not {"item_embedding", "head", "item_content"} & names
        state = model.encode_user({key: value for key, value in x.items() if not key.startswith("candidate")})
        ends = {key.partition("/")[2] for key in state}
        assert ends == {"", *NAMES} and "user_part" in state and "user_part/buys" not in state
        alone = {key for key in state if "/" not in key} - {"user_part"}
        assert {key.removesuffix("/buys") for key in state if key.endswith("/buys")} == alone

    def test_without_further_histories_there_is_nothing_new(self, name):
        model = small_model(name=name)
        assert not model.further and "histories" not in model.get_config()["schema"]

    def test_explains_and_learns_and_loads(self, name, tmp_path):
        model, x = model_of(name), drawn(8, 4, 4)
        told = {key: to_numpy(value) for key, value in model.explain(model.encode_user(x), x).items()}
        parts = {key: value for key, value in told.items() if key.startswith("contribution_")}
        assert {f"contribution_history/{history}" for history in NAMES} <= set(parts)
        np.testing.assert_allclose(told["base_logit"] + sum(parts.values()), told["logit"], rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(told["logit"], to_numpy(model(x)), rtol=1e-4, atol=1e-4)
        # To build the graph of a step takes as long as dozens of steps without one.
        model.compile(keras.optimizers.SGD(0.01), run_eagerly=True)
        assert np.isfinite(model.train_on_batch(x, x["candidate_index"] % 2)).all()
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        assert loaded.schema == FURTHER
        np.testing.assert_array_equal(to_numpy(loaded(x)), to_numpy(model(x)))


def test_an_interest_is_that_of_a_model_with_that_history_alone():
    """Target attention over the shared embedding, with the weights of that history: as NumPy has it."""
    model, x = model_of("target_attention", dataclasses.replace(FURTHER, history_age_buckets=None)), drawn(1, 3, 4)
    embedded = to_numpy(model.item_embedding.embeddings)
    layer = model.further["buys"].attention
    history, candidates = embedded[x["history_index/buys"][0]], embedded[x["candidate_index"][0]]
    query = candidates @ to_numpy(layer.query.kernel) + to_numpy(layer.query.bias)
    keys, values = history @ to_numpy(layer.key.kernel), history @ to_numpy(layer.value.kernel)
    logits = query @ keys.T / np.sqrt(keys.shape[-1]) + np.where(x["history_index/buys"][0] > 0, 0, -1e9)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    expected = weights / weights.sum(-1, keepdims=True) @ values
    state = model.encode_user(x)
    found = model.further_interests(state, model.candidate_items(x), x, training=False)["history/buys"]
    np.testing.assert_allclose(to_numpy(found)[0], expected, rtol=1e-4, atol=1e-5)


def test_quantile_edges_are_shared():
    model = small_model({"bucket_edges": "quantile"}, schema=FURTHER)
    model.adapt([drawn(16, 6, 5)])
    x = drawn(3, 4, 4)
    assert np.isfinite(to_numpy(model(x))).all()
    assert all(own.similarity["text"] is model.similarity["text"] for own in model.further.values())


@pytest.mark.parametrize("names", [("a", "a"), ("a-b",), ("",)])
def test_a_schema_refuses_what_are_no_names(names):
    with pytest.raises(ValueError, match=r"histories must have different names|names are letters"):
        RankingSchema(item_rows=3, content_rows=3, histories=names)


def test_a_model_that_reads_one_history_says_so():
    with pytest.raises(ValueError, match="RankingModel reads one history, but there are further ones: buys, carts"):
        RankingModel(FURTHER, model_config("mean_pooling", {}))


LENGTH = 12


def world(count: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Clicks of any topic, among them two purchases of one; a candidate of their topic is clicked by 0.8, else 0.1."""
    rng = np.random.default_rng(seed)
    topic = rng.integers(0, TOPICS, count)
    clicks = rng.integers(1, ITEMS + 1, (count, LENGTH))
    bought = rng.integers(0, ITEMS // TOPICS, (count, 2)) * TOPICS + topic[:, None]
    bought = np.where(bought == 0, ITEMS, bought)
    where = rng.permuted(np.tile(np.arange(LENGTH), (count, 1)), axis=1)[:, :2]
    np.put_along_axis(clicks, where, bought, axis=1)
    candidates = rng.integers(1, ITEMS + 1, (count, 6))
    wanted = candidates % TOPICS == topic[:, None]
    x = {"history_index": clicks, "history_index/buys": bought, "candidate_index": candidates}
    x |= {key.replace("index", "content_row"): value for key, value in x.items()}
    return x, (rng.random(wanted.shape) < np.where(wanted, 0.8, 0.1)).astype("float32")


def auc(name: str, histories: tuple[str, ...]) -> float:
    """Of a trained model on requests that it has not seen."""
    return auc_of_trained(name, world(2000, 1), world(1000, 2), epochs=6, histories=histories)


# The click probabilities themselves have 0.87.
@pytest.mark.parametrize("name", ["dmf", "mean_pooling"])
def test_purchases_tell_what_clicks_do_not(name: str) -> None:
    without, with_buys = auc(name, ()), auc(name, ("buys",))
    assert with_buys > without + 0.05, (without, with_buys)
