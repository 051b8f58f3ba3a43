"""What DMF computes; `every_model_test` has what holds for all models."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from dmf_keras.models import DMF, ModalitySpec, RankingSchema
from dmf_keras.models.similarity_model import history_present, history_vectors
from tests.dmf_keras.models.batches import SCHEMA, requests, small_model

to_numpy = keras.ops.convert_to_numpy


@pytest.fixture(scope="module")
def model():
    return small_model()


def _softmax(logits):
    exponents = np.exp(logits - logits.max())
    return exponents / exponents.sum()


def _dense(layers, rows):
    for depth, layer in enumerate(layers):
        rows = rows @ to_numpy(layer.kernel) + to_numpy(layer.bias)
        if depth < len(layers) - 1:
            rows = np.maximum(rows, 0)
    return rows


@pytest.mark.parametrize("content_in", [(), ("items",), ("user",), ("items", "user")])
def test_equals_the_equations(content_in):
    """One pair at a time, from the weights alone; without `content_in` those of the paper."""
    model = small_model({"content_in": content_in}) if content_in else small_model(name="dmf_paper")
    x = requests(3, 4, 5)
    embed = lambda layer, ids: to_numpy(layer.embeddings)[ids]  # noqa: E731
    for b, n in np.ndindex(3, 4):
        kept = np.flatnonzero(x["history_index"][b])
        e_n = embed(model.item_embedding, x["candidate_index"][b, n])
        e_h = embed(model.item_embedding, x["history_index"][b, kept])
        buckets, histograms, of_candidate, of_history, means = [], [], [], [], []
        for content in model.content.values():
            table, present = to_numpy(content.table).astype(np.float32), to_numpy(content.present)
            row, rows = x["candidate_content_row"][b, n], x["history_content_row"][b, kept]
            of_candidate.append(table[row] * present[row])
            of_history.append(table[rows] * present[rows][:, None])
            means.append(of_history[-1].sum(axis=0) / max(1, present[rows].sum()))
            position = np.floor((table[rows] @ table[row] + 1) / 2 * 7)
            buckets.append(np.where(present[row] & present[rows], np.clip(position, 0, 6), 7).astype(int))
            histograms.append(np.log1p(np.bincount(buckets[-1], minlength=8)))
        if "items" in content_in:
            kernel = to_numpy(model.item_content.kernel)
            e_n, e_h = e_n + np.concatenate(of_candidate) @ kernel, e_h + np.concatenate(of_history, axis=1) @ kernel
        attention = model.attention
        o_n = np.zeros(8)
        if kept.size:
            k = e_h @ to_numpy(attention.key.kernel) + sum(
                to_numpy(t)[i, 0] for t, i in zip(attention.key_tables, buckets, strict=True)
            )
            v = e_h @ to_numpy(attention.value.kernel) + sum(
                to_numpy(t)[i, 0] for t, i in zip(attention.value_tables, buckets, strict=True)
            )
            o_n = _softmax(k @ _dense([attention.query], e_n) / np.sqrt(8)) @ v
        r_n = 0.5 * _dense(model.enriched_branch.layers, o_n)
        r_n = r_n + 0.5 * _dense(model.centric_branch.layers, np.concatenate(histograms))
        user = [embed(model.column_embeddings[name], x[name][b]) for name in ("gender", "hour")]
        user += [embed(model.user_embedding, x["user_index"][b]), [x["age"][b]], [x["price"][b]]]
        user += means if "user" in content_in else []
        hidden = np.concatenate([*user, e_n, r_n]) @ to_numpy(model.head.kernel) + to_numpy(model.head.bias)
        tail = [layer for layer in model.head.tail if isinstance(layer, keras.layers.Dense)]
        expected = _dense(tail, np.maximum(hidden, 0))[0]
        assert to_numpy(model(x))[b, n] == pytest.approx(expected, abs=1e-5)


def test_carried_content_replaces_the_table_where_it_is_not_zero(model):
    x = requests(2, 4, 5)
    rows = x["candidate_content_row"]
    table = to_numpy(model.content["image"].table)
    swapped = {**x, "candidate_content_row": np.where([True, False, True, False], 0, rows)}
    carried = np.where(np.array([True, False, True, False])[:, None], table[rows] * 3, 0).astype(np.float32)
    text = to_numpy(model.content["text"].table).astype(np.float32)
    carried_text = np.where(np.array([True, False, True, False])[:, None], text[rows], 0).astype(np.float32)
    given = {**swapped, "candidate_content/image": carried, "candidate_content/text": carried_text}
    # Rows of float16 are of unit length up to rounding; what is carried is exactly so.
    np.testing.assert_allclose(to_numpy(model(given)), to_numpy(model(x)), atol=1e-4)
    assert np.abs(to_numpy(model(swapped)) - to_numpy(model(x))).max() > 1e-3


def test_without_content_in_items_and_user_it_is_the_papers():
    x = requests(3, 4, 5)
    paper = small_model(name="dmf_paper")
    np.testing.assert_array_equal(to_numpy(small_model({"content_in": []})(x)), to_numpy(paper(x)))
    # Of a model saved before there was a choice nothing says where its content goes.
    saved = small_model({"content_in": []}).get_config()
    del saved["config"]["content_in"]
    assert DMF.from_config(saved).config.content_in == ()


def test_content_that_a_request_carries_is_in_the_items_vector():
    model = small_model({"content_in": ["items"], "alpha": 0})
    x = requests(1, 1, 5)
    x["candidate_content_row"] = np.zeros_like(x["candidate_content_row"])
    given = np.random.default_rng(1).normal(size=(1, 1, 5)).astype(np.float32)
    before, after = (to_numpy(model.candidate_items(y)) for y in (x, {**x, "candidate_content/image": given}))
    unit = given / np.linalg.norm(given)
    # Text comes first, with zeros.
    np.testing.assert_allclose(after - before, unit @ to_numpy(model.item_content.kernel)[6:], atol=1e-6)


@pytest.mark.parametrize("given", ["items", ["items", "items"], ["pairs"], [1], 3])
def test_refuses_places_for_content(given):
    with pytest.raises(ValueError, match="content_in must be a list of items and user, got"):
        small_model({"content_in": given})


def test_ablations_leave_the_other_branch_out():
    x = requests(3, 4, 5)
    enriched, centric = (small_model({"alpha": alpha}, name="dmf_paper") for alpha in (1, 0))
    # The same seed gives the same weights, under the ablation's own name too.
    for model, name in ((enriched, "dmf_enriched"), (centric, "dmf_centric")):
        np.testing.assert_array_equal(to_numpy(small_model(name=name)(x)), to_numpy(model(x)))
    assert set(enriched.encode_user(x)) - set(centric.encode_user(x)) == {"keys", "values"}
    assert not hasattr(enriched, "histogram")
    assert not hasattr(centric, "attention")
    for model in (enriched, centric):
        assert to_numpy(model(x)).shape == (3, 4)


def test_state_is_small():
    """L = 100, attention 64, two modalities of 64 and a first hidden layer of 1024: below 120 KB."""
    schema = RankingSchema(item_rows=40, content_rows=40, modalities={"a": ModalitySpec(64), "b": ModalitySpec(64)})
    model = small_model({"attention_dim": 64, "hidden_units": [1024, 512, 256]}, schema)
    state = model.encode_user(requests(1, 1, 100))
    assert set(state) == {
        *("keys", "values", "history_mask", "user_part"),
        *(name(m) for name in (history_vectors, history_present) for m in "ab"),
    }
    assert sum(to_numpy(tensor).nbytes for tensor in state.values()) < 120_000


@pytest.mark.parametrize(("changed", "message"), [
    ({"history_index": None}, "missing inputs: history_index. Received: age, candidate"),
    ({"candidate_index": None}, "missing inputs: candidate_index"),
    ({"candidate_index": np.zeros(3, int)}, r"`candidate_index` must have shape \(batch, items\).*shape \(3,\)"),
    ({"gender": np.zeros(3)}, "`gender` must be of dtype int. Received: dtype float"),
])  # fmt: skip
def test_refuses_inputs(model, changed, message):
    x = {name: value for name, value in {**requests(3, 4, 5), **changed}.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        model(x)


def test_schema_of_the_test_has_everything():
    assert SCHEMA.user_rows
    assert SCHEMA.categorical
    assert SCHEMA.numeric
    assert len(SCHEMA.modalities) == 2
