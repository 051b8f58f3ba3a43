"""What the probe sums over batches is what loops over pairs give."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from dmf_keras.models.inputs import CANDIDATE_CONTENT_ROW, CANDIDATE_INDEX, HISTORY_CONTENT_ROW, HISTORY_INDEX
from dmf_keras.models.registry import build_model
from tfx_pipeline.pages.run import probe
from tfx_pipeline.trained.keras_model import KerasModel
from tfx_pipeline.transform.dataset import split_files

REQUESTS = 30


@pytest.fixture(scope="module")
def keras_model(trained):
    return KerasModel(trained / "Format-Serving")


@pytest.fixture(scope="module")
def files(tiny_world):
    return split_files(tiny_world.requests, "eval")


@pytest.fixture(scope="module")
def found(keras_model, files):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "_BATCH", 7)  # several batches, the last of them smaller
        return probe.probe_model(keras_model.model, keras_model.transform, files, REQUESTS)


@pytest.fixture(scope="module")
def inputs(keras_model, files):
    """Model inputs of the same requests, in one batch."""
    (batch,) = tf.data.TFRecordDataset(files, "GZIP").take(REQUESTS).batch(REQUESTS)
    return {name: ops.convert_to_numpy(value) for name, value in keras_model.transform.examples(batch).items()}


def pairs_of(model, inputs, modality: str):
    """Row, bucket, cosine or NaN, and length of v + E_V of every pair, by loops."""
    vectors, present = (
        ops.convert_to_numpy(each) for each in model.content[modality](np.arange(model.content[modality].rows))
    )
    layer, attention = model.similarity[modality], model.attention
    table = ops.convert_to_numpy(attention.value_tables[attention.modalities.index(modality)]).reshape(
        -1, attention.dim
    )
    histories = ops.convert_to_numpy(model.history_items(inputs))
    rows, row = [], 0
    for request in range(REQUESTS):
        history = [j for j, index in enumerate(inputs[HISTORY_INDEX][request]) if index]
        values = ops.convert_to_numpy(attention.value(histories[request : request + 1]))[0]
        for n, index in enumerate(inputs[CANDIDATE_INDEX][request]):
            if not index:
                continue
            candidate = inputs[CANDIDATE_CONTENT_ROW][request, n]
            for j in history:
                other = inputs[HISTORY_CONTENT_ROW][request, j]
                if present[candidate] and present[other]:
                    cosine = min(float(vectors[candidate] @ vectors[other]), 1.0)  # float16 rows
                    bucket = min(int((cosine + 1) / 2 * layer.buckets), layer.buckets - 1)
                else:
                    cosine, bucket = np.nan, layer.buckets
                rows.append((row, bucket, cosine, np.linalg.norm(values[j] + table[bucket]), np.linalg.norm(values[j])))
            row += 1
    return [np.array(column) for column in zip(*rows, strict=True)], row


@pytest.mark.parametrize("name", ["text", "image"])
def test_sums_are_those_of_loops(keras_model, found, inputs, name):
    (row, bucket, cosine, length, plain), rows = pairs_of(keras_model.model, inputs, name)
    modality = found.modalities[name]
    size = keras_model.model.similarity[name].buckets + 1
    assert found.requests == REQUESTS
    assert len(found.labels) == rows
    np.testing.assert_array_equal(modality.pairs, np.bincount(bucket, minlength=size))
    assert modality.pairs[-1] > 0
    assert len(modality.borders) == size
    for number in np.unique(bucket):
        expected = np.sqrt(np.mean(length[bucket == number] ** 2))
        assert modality.value_norm[number] == pytest.approx(expected, rel=1e-4)
    assert modality.plain_value_norm == pytest.approx(np.sqrt(np.mean(plain**2)), rel=1e-4)
    for number in range(rows):
        known = cosine[(row == number) & ~np.isnan(cosine)]
        if len(known):
            assert modality.largest[number] == pytest.approx(known.max(), abs=1e-5)
            assert modality.mean[number] == pytest.approx(known.mean(), abs=1e-5)
        else:
            assert np.isnan([modality.largest[number], modality.mean[number]]).all()


def test_attention_is_spread_over_the_buckets(keras_model, found, inputs):
    """Each candidate of a request with a history spreads a weight of 1."""
    candidates = (inputs[CANDIDATE_INDEX] != 0).sum(axis=1)
    with_history = candidates[(inputs[HISTORY_INDEX] != 0).any(axis=1)].sum()
    assert 0 < with_history < len(found.labels)
    for modality in found.modalities.values():
        assert modality.attention.sum() == pytest.approx(with_history, rel=1e-5)
        assert (modality.attention[modality.pairs == 0] == 0).all()


def test_key_shift_is_the_mean_of_what_the_table_adds(keras_model, found, inputs):
    attention = keras_model.model.attention
    candidates = keras_model.model.candidate_items(inputs)
    query = ops.convert_to_numpy(attention.query(candidates))[inputs[CANDIDATE_INDEX] != 0]
    for place, name in enumerate(attention.modalities):
        table = ops.convert_to_numpy(attention.key_tables[place])  # [S + 1, H, A]
        heads = query.reshape(len(query), attention.heads, attention.head_width)
        expected = np.einsum("nha,bha->nhb", heads, table).mean(axis=(0, 1)) / np.sqrt(attention.head_width)
        np.testing.assert_allclose(found.modalities[name].key_shift, expected, atol=1e-5)


def test_logits_and_labels_are_row_by_row(keras_model, found, inputs, files):
    logits = ops.convert_to_numpy(keras_model.model(inputs))
    np.testing.assert_allclose(found.logits, logits[inputs[CANDIDATE_INDEX] != 0], atol=1e-4)
    even = np.array([int(item[1:]) % 2 == 0 for item in found.item_ids])
    assert 0 < found.labels.mean() < 1
    assert len(even) == len(found.labels)
    assert {"enriched", "centric", "item"} <= set(found.contributions) == set(found.without)


def test_weight_of_the_mixture_is_the_configured_one(found, keras_model):
    np.testing.assert_allclose(found.enriched_weight, keras_model.model.config.alpha, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "modalities", "has_attention", "has_norm"),
    [
        ("target_attention", set(), False, False),
        ("simtier", {"text", "image"}, True, False),
        ("dmf_centric", {"text", "image"}, False, False),
        ("early_fusion", {"text", "image"}, True, False),
        ("content_concat", set(), False, False),
        ("mim", {"text", "image"}, True, False),
    ],
)
def test_other_models_tell_what_they_have(keras_model, files, name, modalities, has_attention, has_norm):
    dmf = keras_model.model
    params = {"id_dim": 8, "hidden_units": [16]}
    model = build_model(name, params, dmf.schema, seed=3)
    for modality, layer in model.content.items():
        for own, other in zip(layer.weights, dmf.content[modality].weights, strict=True):
            own.assign(other)
    found = probe.probe_model(model, keras_model.transform, files, 10)
    assert set(found.modalities) == modalities
    for modality in found.modalities.values():
        assert (modality.attention is not None) == has_attention
        assert (modality.value_norm is not None) == has_norm


def test_an_own_model_that_tells_nothing_and_keeps_another_state_has_no_probe(keras_model, files):
    model = SimpleNamespace(
        content=keras_model.model.content,
        encode_user=lambda inputs: {"user": inputs[HISTORY_INDEX]},
        explain=lambda state, inputs: {},
    )
    assert probe.probe_model(model, keras_model.transform, files, REQUESTS) is None
