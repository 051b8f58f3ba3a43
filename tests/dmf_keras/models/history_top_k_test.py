"""`history_top_k`: attention to the most similar items of the history alone, in every model that has it."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from dmf_keras.models import DMF, ModalitySpec, RankingSchema, build_model, model_config, model_names
from dmf_keras.models.inputs import HISTORY_CONTENT_ROW, HISTORY_INDEX, of_history
from tests.dmf_keras.models import graph_test
from tests.dmf_keras.models.batches import requests, small_model
from tests.dmf_keras.models.by_numpy import cosines, to_numpy

items_where_they_stand = graph_test.items_where_they_stand

CUT = [name for name in model_names() if hasattr(model_config(name, {}), "history_top_k")]
every_model = pytest.mark.parametrize("name", CUT)
COUNT = 3


def pair_of(name, count=COUNT, **params):
    """The same model without the option and with it; the first seed's weights, made large."""
    models = [small_model({**params, **extra}, name=name) for extra in ({}, {"history_top_k": count})]
    rng = np.random.default_rng(1)
    for weight, cut in zip(*(model.trainable_variables for model in models), strict=True):
        weight.assign(rng.normal(scale=0.6, size=weight.shape))
        cut.assign(weight)
    return models


def kept_by_numpy(model, x, b, n, count=COUNT):
    """Places of the history that request b's candidate n attends to."""
    real = np.flatnonzero(x["history_index"][b])
    found, known = cosines(model, x["candidate_content_row"][b, n], x["history_content_row"][b, real])
    with np.errstate(invalid="ignore"):
        similarity = np.where(known.any(axis=0), found.sum(axis=0) / known.sum(axis=0), -np.inf)
    if len(real) <= count:
        return real
    return real[similarity >= np.sort(similarity)[-count] - 1e-6]


def test_models_that_have_it():
    assert CUT == ["dmf", "dmf_enriched", "dmf_paper", "early_fusion", "mim", "muse", "simtier"]


@every_model
def test_weights_are_those_of_what_is_kept(name):
    x = requests(4, 5, 9)
    whole, cut = ({k: to_numpy(v) for k, v in m.explain(m.encode_user(x), x).items()} for m in pair_of(name))
    model = small_model(name=name)
    for b, n in np.ndindex(4, 5):
        kept = np.isin(np.arange(9), kept_by_numpy(model, x, b, n))
        expected = whole["attention"][b, n] * kept
        expected = expected / max(expected.sum(), 1e-30)
        np.testing.assert_allclose(cut["attention"][b, n], expected, atol=1e-5)
        assert (cut["attention"][b, n][~kept] == 0).all()
    # Similarities are told of the whole history.
    np.testing.assert_array_equal(cut["similarity_text"], whole["similarity_text"])
    assert np.abs(cut["logit"] - whole["logit"]).max() > 1e-3


def test_the_score_is_that_of_a_history_of_what_is_kept():
    """Of a model of attention alone: each candidate asked for by itself, with a history that was cut by NumPy."""
    x = requests(4, 5, 9)
    whole, cut = pair_of("dmf_enriched")
    scores = to_numpy(cut(x))
    for b, n in np.ndindex(4, 5):
        kept = kept_by_numpy(cut, x, b, n)
        one = {name: values[b : b + 1] for name, values in x.items()}
        for name in ("history_index", "history_content_row"):
            one[name] = x[name][b : b + 1, kept] if kept.size else np.zeros((1, 1), int)
        for name in ("candidate_index", "candidate_content_row"):
            one[name] = x[name][b : b + 1, n : n + 1]
        assert scores[b, n] == pytest.approx(to_numpy(whole(one))[0, 0], abs=1e-5)


@every_model
def test_a_history_that_is_no_longer_scores_the_same(name):
    x = requests(4, 5, 9)
    whole, cut = pair_of(name, count=9)
    np.testing.assert_array_equal(to_numpy(cut(x)), to_numpy(whole(x)))
    # The same where the graph does not know how long it is, as it is served.
    signature = tf.nest.map_structure(lambda a: tf.TensorSpec([None] * a.ndim, a.dtype), x)
    graphs = [tf.function(m, input_signature=[signature], autograph=False) for m in (whole, cut)]
    for length in (0, 1, 9):
        y = {k: v[:, :length] if k.startswith("history") else v for k, v in x.items()}
        scores = [graph(y).numpy() for graph in graphs]
        np.testing.assert_array_equal(scores[1], scores[0])
    y = requests(4, 5, 30)
    np.testing.assert_allclose(graphs[1](y).numpy(), to_numpy(cut(y)), atol=1e-5)
    assert np.abs(graphs[1](y).numpy() - graphs[0](y).numpy()).max() > 1e-3


@every_model
def test_order_and_padding_of_the_history_do_not_matter(name):
    _, cut = pair_of(name, **({"recent": 1} if name == "mim" else {}))
    x = requests(2, 5, 9)
    x["history_index"][:], x["history_content_row"][:] = x["history_index"][:1], x["history_content_row"][:1]
    order = np.random.default_rng(3).permutation(8)
    y = {**x, **{n: np.concatenate([x[n][:, :8][:, order], x[n][:, 8:]], 1) for n in x if n.startswith("history")}}
    if name != "mim":  # the last item is one of its features
        np.testing.assert_allclose(to_numpy(cut(y)), to_numpy(cut(x)), atol=1e-5)
    padded = {**x, **{n: np.pad(x[n], ((0, 0), (4, 6))) for n in x if n.startswith("history")}}
    np.testing.assert_allclose(to_numpy(cut(padded)), to_numpy(cut(x)), atol=1e-5)


@every_model
def test_what_is_cut_has_no_gradient(name):
    _, cut = pair_of(name, count=1, **({"recent": 1} if name == "mim" else {}))
    x = requests(1, 1, 9)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(cut(x, training=True))
    gradient = tf.convert_to_tensor(tape.gradient(loss, cut.item_embedding.embeddings.value)).numpy()
    moved = set(np.flatnonzero(np.abs(gradient).max(axis=1)))
    [kept] = kept_by_numpy(cut, x, 0, 0, count=1)
    assert moved == {x["history_index"][0, kept], x["candidate_index"][0, 0]}
    assert np.isfinite(gradient).all()


@pytest.mark.usefixtures("items_where_they_stand")
@pytest.mark.parametrize("name", [name for name in CUT if name != "early_fusion"])
def test_no_vector_per_pair(name, monkeypatch):
    monkeypatch.setitem(graph_test.PARAMS, "history_top_k", 20)
    known = model_config(name, {"history_top_k": 1}).to_dict()
    params = {key: value for key, value in graph_test.PARAMS.items() if key in known}
    model = graph_test.build_model(name, params, graph_test.SCHEMA, seed=0)
    assert model.config.history_top_k == 20
    assert graph_test.too_large(graph_test.scoring(model), graph_test.HEADS) == []
    assert graph_test.too_large(graph_test.training_step(model), graph_test.HEADS) == []


@pytest.mark.parametrize("given", [0, -1, 2.5, True, "all"])
def test_refuses_what_is_no_count(given):
    with pytest.raises(ValueError, match="history_top_k must be an integer of at least 1, got"):
        small_model({"history_top_k": given})


def test_refuses_to_cut_attention_that_is_not_there():
    with pytest.raises(ValueError, match="history_top_k cuts attention: alpha 0 leaves none, got 5"):
        small_model({"history_top_k": 5, "alpha": 0})
    for name in ("dmf_centric", "target_attention"):
        with pytest.raises(ValueError, match="history_top_k"):
            model_config(name, {"history_top_k": 5})


def test_a_model_of_before_has_none_and_one_with_it_keeps_it():
    assert "history_top_k" not in small_model().get_config()["config"]
    saved = small_model({"history_top_k": 4}).get_config()
    assert DMF.from_config(saved).config.history_top_k == 4
    del saved["config"]["history_top_k"]
    assert DMF.from_config(saved).config.history_top_k is None


def test_further_histories_are_cut_too():
    schema = RankingSchema(item_rows=40, content_rows=40, modalities={"text": ModalitySpec(6)}, histories=("buys",))
    whole, cut = (build_model("dmf", {"history_top_k": count}, schema, seed=0) for count in (None, 3))
    for model in (whole, cut):
        model.content["text"].set_rows(np.random.default_rng(0).normal(size=(40, 6)))
        rng = np.random.default_rng(1)
        for weight in model.trainable_variables:
            weight.assign(rng.normal(scale=0.6, size=weight.shape))

    def differences(buys):
        rows = {"history": np.array([[5, 7, 9]]), "candidate": np.array([[3, 4]])}
        x = {f"{of}_{column}": index for of, index in rows.items() for column in ("index", "content_row")}
        x |= {of_history(name, "buys"): np.array([buys]) for name in (HISTORY_INDEX, HISTORY_CONTENT_ROW)}
        return np.abs(to_numpy(cut(x)) - to_numpy(whole(x))).max()

    assert differences([6, 8, 10]) == 0
    assert differences([6, 8, 10, 12, 14]) > 1e-3
