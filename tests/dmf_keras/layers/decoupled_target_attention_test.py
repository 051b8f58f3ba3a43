from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from dmf_keras.layers import DecoupledTargetAttention
from dmf_keras.testing import check_layer
from tests.dmf_keras.layers.attention_inputs import (
    BUCKETS,
    DIM,
    bucket_names,
    call,
    inputs,
    make,
    projected,
    textbook,
    to_numpy,
)


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("modalities", [1, 2])
def test_equals_the_equations(heads, modalities):
    arrays = inputs("decoupled", modalities=modalities)
    layer = make("decoupled", heads, modalities)
    interest, weights = call(layer, arrays, return_weights=True)
    keys, values = (
        projected(arrays["history"], dense, heads)[:, None]
        + sum(to_numpy(table)[arrays[name]] for table, name in zip(tables, bucket_names(arrays), strict=True))
        for dense, tables in ((layer.key, layer.key_tables), (layer.value, layer.value_tables))
    )
    query = projected(arrays["candidates"], layer.query, heads)
    expected, expected_weights = textbook(query, keys, values, arrays["history_mask"])
    np.testing.assert_allclose(to_numpy(interest), expected, atol=1e-5)
    np.testing.assert_allclose(to_numpy(weights), expected_weights, atol=1e-5)


def test_user_part_then_candidate_part_is_the_call():
    arrays = inputs("decoupled")
    layer = make("decoupled")
    whole = to_numpy(call(layer, arrays))
    keys, values = layer.encode_history(arrays["history"])
    assert tuple(keys.shape) == tuple(values.shape) == (3, 6, 1, 8)
    for page in (slice(0, 1), slice(1, 4)):
        buckets = [arrays[name][:, page] for name in bucket_names(arrays)]
        part = layer.attend(arrays["candidates"][:, page], keys, values, buckets, arrays["history_mask"])
        np.testing.assert_allclose(to_numpy(part), whole[:, page], atol=1e-6)


def test_a_candidate_without_an_embedding_attends_by_similarity():
    """A cold one's row is zeros, and every row is nearly so at the start of training: E_K must count nevertheless."""
    arrays = inputs("decoupled") | {"history": np.ones((3, 6, 6), np.float32), "history_mask": np.ones((3, 6), bool)}
    arrays["candidates"] = np.zeros_like(arrays["candidates"])
    _, weights = call(DecoupledTargetAttention(DIM, 1, BUCKETS, ["m0", "m1"]), arrays, return_weights=True)
    pairs = [
        list(zip(*(arrays[name][b, n] for name in bucket_names(arrays)), strict=True)) for b, n in np.ndindex(3, 4)
    ]
    for weight, ids in zip(to_numpy(weights).reshape(-1, 6), pairs, strict=True):
        alike = [weight[j] for j in range(6) if ids[j] == ids[0]]
        np.testing.assert_allclose(alike, weight[0], atol=1e-6)
        assert len(set(ids)) == 1 or np.ptp(weight) > 1e-4


def test_names_and_shapes_of_the_weights():
    """Saved models are read by these."""
    layer = make("decoupled", heads=2, name="attention", dropout=0.1)
    call(layer, inputs("decoupled"))
    assert {weight.path: tuple(weight.shape) for weight in layer.trainable_weights} == {
        "attention/query/kernel": (7, DIM),
        "attention/query/bias": (DIM,),
        "attention/key/kernel": (6, DIM),
        "attention/value/kernel": (6, DIM),
        **{f"attention/m{m}_{side}_table": (BUCKETS + 1, 2, DIM // 2) for m in range(2) for side in ("key", "value")},
    }


def test_tables_start_different():
    layer = DecoupledTargetAttention(DIM, 1, BUCKETS, ["m0", "m1"])
    call(layer, inputs("decoupled"))
    tables = [to_numpy(table) for table in (*layer.key_tables, *layer.value_tables)]
    assert all(not np.array_equal(tables[i], tables[j]) for i in range(4) for j in range(i))


@pytest.mark.parametrize("heads", [1, 4])
def test_layer_checks(heads, tmp_path):
    check_layer(partial(make, "decoupled", heads, dropout=0.25), inputs("decoupled"), call, tmp_path)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"buckets": -4}, "Received: -4"),
    ({"modalities": "text"}, "Received: 'text'"),
    ({"modalities": ["text", "text"]}, "different names"),
    ({"modalities": ()}, r"at least one; without content use TargetAttention.* Received: \(\)"),
])  # fmt: skip
def test_refuses_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        DecoupledTargetAttention(**arguments)


@pytest.mark.parametrize(("changed", "message"), [
    ({"buckets1": np.zeros((3, 4, 5), np.int32)}, r"`buckets of m1` must have 6 in dimension 2.*\(3, 4, 5\)"),
    ({"buckets1": np.zeros((3, 1, 6), np.int32)}, r"`buckets of m1` must have 4 in dimension 1.*\(3, 1, 6\)"),
    ({"buckets1": np.zeros((1, 4, 6), np.int32)}, r"`buckets of m1` must have 3 in dimension 0.*\(1, 4, 6\)"),
    ({"buckets1": np.zeros((4, 6), np.int32)}, r"`buckets of m1` must have shape.*\(4, 6\)"),
    ({"buckets1": np.zeros((3, 4, 6), np.float32)}, "`buckets of m1` must be of dtype int"),
    ({"buckets2": np.zeros((3, 4, 6), np.int32)}, r"one tensor per modality \(m0, m1\). Received: 3"),
])  # fmt: skip
@pytest.mark.parametrize("kind", ["decoupled", "early_fusion"])
def test_refuses_buckets(kind, changed, message):
    with pytest.raises(ValueError, match=message):
        call(make(kind), inputs(kind) | changed)


@pytest.mark.parametrize("kind", ["decoupled", "early_fusion"])
def test_refuses_buckets_that_are_no_list(kind):
    arrays = inputs(kind)
    with pytest.raises(ValueError, match=r"must be a list of one tensor per modality \(m0\).* of shape \(3, 4, 6\)"):
        make(kind, modalities=1)(arrays["candidates"], arrays["history"], arrays["buckets0"], arrays["history_mask"])


def test_refuses_parts():
    arrays = inputs("decoupled")
    layer = make("decoupled", heads=2)
    call(layer, arrays)
    keys, values = layer.encode_history(arrays["history"])
    buckets = [arrays[name] for name in bucket_names(arrays)]
    for wrong, message in ((keys[0], r"`keys` must have shape.*\(6, 2, 4\)"), (keys[:, :, :1], "2 in dimension 2")):
        with pytest.raises(ValueError, match=message):
            layer.attend(arrays["candidates"], wrong, values, buckets, arrays["history_mask"])
