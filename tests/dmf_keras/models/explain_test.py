"""What models tell of their scores, against NumPy and against the scores themselves."""

from __future__ import annotations

import functools
import itertools

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmf_keras.models import ModalitySpec, RankingSchema, model_names
from dmf_keras.models.explanation import coalitions, contribution_weights
from tests.dmf_keras.models.batches import SCHEMA, requests, small_model
from tests.dmf_keras.models.expected import MODELS

to_numpy = keras.ops.convert_to_numpy
every_model = pytest.mark.parametrize("name", model_names())


@functools.cache
def model_of(name, **params):
    """A small model whose weights are large enough for parts to matter, of two heads where it has heads."""
    heads = {"heads": 2} if "attention" in MODELS[name].pairs and not params else {}
    model = small_model({**heads, **params}, name=name)
    rng = np.random.default_rng(1)
    for weight in model.trainable_variables:
        weight.assign(rng.normal(scale=MODELS[name].scale, size=weight.shape))
    return model


def explained(model, x):
    return {name: to_numpy(value) for name, value in model.explain(model.encode_user(x), x).items()}


def parts_of(told):
    return [name.removeprefix("contribution_") for name in told if name.startswith("contribution_")]


@every_model
def test_what_is_told_and_its_shapes(name):
    told = explained(model_of(name), requests(3, 4, 5))
    pairs = MODELS[name].pairs
    parts = {*MODELS[name].parts, "item", "user", "columns"}
    assert set(told) == {
        "logit",
        "base_logit",
        *pairs,
        *(f"{of}_{p}" for p in parts for of in ("contribution", "without")),
    }
    for key, value in told.items():
        shape = {"attention_by_head": (3, 4, 2, 5)}.get(key, (3, 4, 5) if key in pairs else (3, 4))
        assert value.shape == shape, key
        assert value.dtype == (np.int32 if key.startswith("bucket") else np.float32), key
        assert np.isfinite(value).all(), key


@every_model
def test_the_logit_is_the_score_and_its_parts_add_up(name):
    model, x = model_of(name), requests(3, 4, 5)
    told = explained(model, x)
    np.testing.assert_allclose(told["logit"], to_numpy(model(x)), atol=1e-5)
    total = told["base_logit"] + sum(told[f"contribution_{part}"] for part in parts_of(told))
    np.testing.assert_allclose(total, told["logit"], atol=1e-4)
    for part in parts_of(told):
        assert np.abs(told[f"contribution_{part}"][0]).max() > 1e-3, f"{part} should matter in this test"


@every_model
def test_an_empty_history_contributes_nothing(name):
    model, x = model_of(name), requests(3, 4, 5)
    told = explained(model, x)
    of_history = MODELS[name].parts
    for part in of_history:
        np.testing.assert_allclose(told[f"contribution_{part}"][-1], 0, atol=1e-5)
        np.testing.assert_allclose(told[f"without_{part}"][-1], told["logit"][-1], atol=1e-5)
    if len(of_history) == 1:
        # Of one part, "without it" is the score of the same request with an empty history.
        empty = {**x, "history_index": 0 * x["history_index"], "history_content_row": 0 * x["history_index"]}
        (part,) = of_history
        np.testing.assert_allclose(told[f"without_{part}"], to_numpy(model(empty)), atol=1e-5)
    for key in MODELS[name].pairs:
        assert (told[key][-1] == (-1 if key.startswith("bucket") else 0)).all(), key


@pytest.mark.parametrize("mixing", ["fixed", "gate", "concat"])
def test_contributions_are_means_over_all_orders(mixing):
    """The head by NumPy, for every subset of parts; then every order in which they can arrive."""
    model, x = model_of("dmf_paper", mixing=mixing), requests(2, 3, 4)
    state = model.encode_user(x)
    told = explained(model, x)
    candidates = model.item_embedding(x["candidate_index"])
    interests = {k: to_numpy(v) for k, v in model.interest_parts(state, candidates, x, False).items()}
    nobody = {**state, "history_mask": np.zeros_like(to_numpy(state["history_mask"]))}
    empty = {k: to_numpy(v) for k, v in model.interest_parts(nobody, candidates, x, False).items()}
    column = [to_numpy(model.column_embeddings[key](x[key])) for key in ("gender", "hour")]
    user = to_numpy(model.user_embedding(x["user_index"]))
    numbers = np.stack([x["age"], x["price"]], 1)

    def mixed(enriched, centric):
        if mixing == "concat":
            return np.concatenate([enriched, centric], -1)
        alpha = 0.5
        if mixing == "gate":
            both = np.concatenate([enriched, centric], -1) @ to_numpy(model.mixing.kernel)
            alpha = 1 / (1 + np.exp(-(both + to_numpy(model.mixing.bias))))
        return alpha * enriched + (1 - alpha) * centric

    def logit(there):
        seen = [part * ("columns" in there) for part in column] + [user * ("user" in there)]
        features = np.concatenate([*seen, numbers * ("columns" in there)], -1)
        pair = mixed(*(interests[p] if p in there else empty[p] for p in ("enriched", "centric")))
        rows = np.concatenate([np.repeat(features[:, None], 3, 1), to_numpy(candidates) * ("item" in there), pair], -1)
        hidden = np.maximum(rows @ to_numpy(model.head.kernel) + to_numpy(model.head.bias), 0)
        *middle, last = [layer for layer in model.head.tail if isinstance(layer, keras.layers.Dense)]
        for layer in middle:
            hidden = np.maximum(hidden @ to_numpy(layer.kernel) + to_numpy(layer.bias), 0)
        return (hidden @ to_numpy(last.kernel) + to_numpy(last.bias))[..., 0]

    parts = ("enriched", "centric", "item", "user", "columns")
    np.testing.assert_allclose(told["logit"], logit(parts), atol=1e-4)
    np.testing.assert_allclose(told["base_logit"], logit(()), atol=1e-4)
    orders = list(itertools.permutations(parts))
    for part in parts:
        without = tuple(other for other in parts if other != part)
        np.testing.assert_allclose(told[f"without_{part}"], logit(without), atol=1e-4)
        arrivals = [logit(order[: (at := order.index(part)) + 1]) - logit(order[:at]) for order in orders]
        np.testing.assert_allclose(told[f"contribution_{part}"], np.mean(arrivals, axis=0), atol=1e-4)


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if "attention" in model.pairs])
def test_attention_weights_sum_to_one_and_padding_has_none(name):
    x = requests(3, 4, 5)
    told = explained(model_of(name), x)
    real = x["history_index"] > 0
    np.testing.assert_allclose(told["attention"].sum(-1), np.repeat(real.any(1)[:, None], 4, 1), atol=1e-5)
    np.testing.assert_allclose(told["attention_by_head"].mean(2), told["attention"], atol=1e-6)
    assert (told["attention_by_head"][np.repeat(~real[:, None, None], 2, 2).repeat(4, 1)] == 0).all()
    assert np.ptp(told["attention_by_head"][0], axis=1).max() > 1e-3, "the heads should differ"


def test_attention_is_that_of_the_equations():
    x = requests(2, 3, 4)
    model = model_of("target_attention")
    told = explained(model, x)
    embed = to_numpy(model.item_embedding.embeddings)
    weights = model.attention.query
    query = embed[x["candidate_index"][0]] @ to_numpy(weights.kernel) + to_numpy(weights.bias)
    kept = np.flatnonzero(x["history_index"][0])
    key = embed[x["history_index"][0, kept]] @ to_numpy(model.attention.key.kernel)
    for head in range(2):
        columns = slice(4 * head, 4 * head + 4)
        exponents = np.exp(query[:, columns] @ key[:, columns].T / 2)
        expected = exponents / exponents.sum(-1, keepdims=True)
        np.testing.assert_allclose(told["attention_by_head"][0, :, head][:, kept], expected, atol=1e-5)


def test_weights_are_those_that_make_the_interest():
    """Values mixed by the weights told are the interest that the score uses."""
    x = requests(3, 4, 5)
    model = model_of("din")
    history = to_numpy(model.item_embedding(x["history_index"]))
    candidates = model.item_embedding(x["candidate_index"])
    interest = model.interest(model.encode_user(x), candidates, x, False)
    np.testing.assert_allclose(explained(model, x)["activation"] @ history, to_numpy(interest), atol=1e-4)
    model = model_of("dmf_enriched", heads=1)
    told, state = explained(model, x), model.encode_user(x)
    candidates, ids = model.item_embedding(x["candidate_index"]), model.bucket_ids(state, x)
    mixed = told["attention"] @ to_numpy(state["values"])[:, :, 0]
    for table, of_pairs in zip(model.attention.value_tables, ids, strict=True):
        mixed += np.einsum("bnl,bnla->bna", told["attention"], to_numpy(table)[to_numpy(of_pairs), 0])
    np.testing.assert_allclose(mixed, to_numpy(model.attend(state, candidates, ids, False)), atol=1e-4)


@pytest.mark.parametrize("name", ["dmf_centric", "simtier"])
def test_similarities_are_cosines_and_say_where_there_is_no_content(name):
    x = requests(3, 6, 7)
    model = model_of(name)
    told = explained(model, x)
    for modality, content in model.content.items():
        table, present = to_numpy(content.table).astype(np.float32), to_numpy(content.present)
        rows, history = x["candidate_content_row"], x["history_content_row"]
        known = present[rows][:, :, None] & present[history][:, None]
        assert not known.all() and known.any()
        cosines = np.einsum("bnd,bld->bnl", table[rows], table[history])
        np.testing.assert_allclose(told[f"similarity_{modality}"], np.where(known, cosines, 0), atol=2e-3)
        buckets = told[f"bucket_{modality}"]
        assert ((buckets >= 0) == known).all()
        position = (told[f"similarity_{modality}"] + 1) * 3.5
        inside = np.abs(position - np.round(position)) > 1e-4
        assert (buckets[known & inside] == np.clip(np.floor(position), 0, 6)[known & inside]).all()


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.integers(0, 3))
@every_model
def test_padding_and_other_candidates_change_nothing(name, seed, batch, candidates, history, padding):
    model, x = model_of(name), requests(batch, candidates, history, seed)
    told = explained(model, x)
    items, row = ("history_index", "history_content_row"), ("candidate_index", "candidate_content_row")
    padded = {**x, **{key: np.pad(x[key], ((0, 0), (padding, 1))) for key in items}}
    padded |= {key: np.pad(x[key], ((0, 0), (0, padding))) for key in row}
    other = explained(model, padded)
    for key, value in told.items():
        found = other[key][:, :candidates]
        if key in MODELS[name].pairs:
            nothing = -1 if key.startswith("bucket") else 0
            assert (found[..., :padding] == nothing).all() and (found[..., -1:] == nothing).all(), key
            found = found[..., padding : padding + history]
        np.testing.assert_allclose(found, value, atol=1e-4, err_msg=key)
    alone = explained(model, {**x, **{key: x[key][:, -1:] for key in row}})
    for key, value in told.items():
        np.testing.assert_allclose(alone[key], value[:, -1:], atol=1e-4, err_msg=key)


def test_content_that_a_request_carries_is_what_is_compared():
    x, model = requests(2, 3, 4), model_of("dmf")
    carried = to_numpy(model.content["text"](x["history_content_row"][:, :1])[0])
    given_content = np.concatenate([carried, np.zeros((2, 2, 6), np.float32)], axis=1)
    told = explained(model, {**x, "candidate_content/text": given_content})
    assert told["similarity_text"][0, 0, 0] == pytest.approx(1, abs=2e-3)
    assert told["bucket_text"][0, 0, 0] == 6


def test_a_part_that_the_data_does_not_have_is_not_told():
    schema = RankingSchema(item_rows=40, content_rows=40, modalities={"text": ModalitySpec(6)})
    model, x = small_model(schema=schema), requests(2, 3, 4)
    told = explained(model, x)
    assert set(parts_of(told)) == {"enriched", "centric", "item", "history"}
    np.testing.assert_allclose(told["logit"], to_numpy(model(x)), atol=1e-5)


def test_mixed_precision_tells_float32_that_adds_up():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = small_model(name="dmf")
        told = explained(model, requests(2, 3, 4))
    finally:
        keras.config.set_dtype_policy("float32")
    assert {value.dtype.name for value in told.values()} == {"float32", "int32"}
    total = told["base_logit"] + sum(told[f"contribution_{part}"] for part in parts_of(told))
    np.testing.assert_allclose(total, told["logit"], atol=1e-4)


def test_inputs_of_the_user_are_needed():
    model, x = model_of("dmf"), requests(2, 3, 4)
    candidates = {key: x[key] for key in ("candidate_index", "candidate_content_row")}
    with pytest.raises(ValueError, match="missing inputs: history_index, history_content_row, user_index"):
        model.explain(model.encode_user(x), candidates)


def test_a_model_that_tells_nothing_needs_no_explain():
    from dmf_keras.models import RankingModel
    from dmf_keras.models.model_config import ModelConfig

    assert RankingModel(SCHEMA, ModelConfig()).explain({}, {}) == {}


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_contributions_of_any_worths_are_means_over_orders(parts, seed):
    worths = np.random.default_rng(seed).normal(size=2**parts)
    inside = coalitions(parts)
    assert not inside[0].any() and inside[-1].all()
    worth_of = {tuple(row): worth for row, worth in zip(inside.tolist(), worths, strict=True)}
    orders = list(itertools.permutations(range(parts)))
    expected = np.zeros(parts)
    for order in orders:
        there = [False] * parts
        for part in order:
            before = worth_of[tuple(there)]
            there[part] = True
            expected[part] += (worth_of[tuple(there)] - before) / len(orders)
    values = contribution_weights(parts) @ worths
    np.testing.assert_allclose(values, expected, atol=1e-9)
    assert values.sum() == pytest.approx(worths[-1] - worths[0])
