from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from dmf_keras.layers import EarlyFusionTargetAttention
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
    arrays = inputs("early_fusion", modalities=modalities)
    layer = make("early_fusion", heads, modalities)
    interest, weights = call(layer, arrays, return_weights=True)
    embedded = [
        to_numpy(table)[arrays[name]] for table, name in zip(layer.similarity_tables, bucket_names(arrays), strict=True)
    ]
    fused = np.concatenate([np.repeat(arrays["history"][:, None], 4, axis=1), *embedded], axis=-1)
    assert fused.shape == (3, 4, 6, 6 + 3 * modalities)
    expected, expected_weights = textbook(
        projected(arrays["candidates"], layer.query, heads),
        projected(fused, layer.key, heads),
        projected(fused, layer.value, heads),
        arrays["history_mask"],
    )
    np.testing.assert_allclose(to_numpy(interest), expected, atol=1e-5)
    np.testing.assert_allclose(to_numpy(weights), expected_weights, atol=1e-5)


@pytest.mark.parametrize("heads", [1, 2])
def test_decoupling_is_the_projection_by_rows(heads):
    """W_k concat(e, E_S[b]) = W_k1 e + (E_S W_k2)[b]: decoupled attention with tables E_S W_k2 and E_S W_v2."""
    arrays = inputs("early_fusion")
    fused, decoupled = make("early_fusion", heads), make("decoupled", heads)
    expected, expected_weights = call(fused, arrays, return_weights=True)
    call(decoupled, arrays)
    decoupled.query.set_weights(fused.query.get_weights())
    for dense, source, tables in (
        (decoupled.key, fused.key, decoupled.key_tables),
        (decoupled.value, fused.value, decoupled.value_tables),
    ):
        of_item, *of_modality = np.split(to_numpy(source.kernel), [6, 9])
        dense.kernel.assign(of_item)
        for table, similarity, rows in zip(tables, fused.similarity_tables, of_modality, strict=True):
            table.assign((to_numpy(similarity) @ rows).reshape(BUCKETS + 1, heads, DIM // heads))
    interest, weights = call(decoupled, arrays, return_weights=True)
    np.testing.assert_allclose(to_numpy(interest), to_numpy(expected), atol=1e-5)
    np.testing.assert_allclose(to_numpy(weights), to_numpy(expected_weights), atol=1e-5)


def test_widths_of_the_weights():
    layer = make("early_fusion", heads=2)
    call(layer, inputs("early_fusion"))
    assert tuple(layer.query.kernel.shape) == (7, DIM)
    assert tuple(layer.key.kernel.shape) == tuple(layer.value.kernel.shape) == (6 + 2 * 3, DIM)
    assert [tuple(table.shape) for table in layer.similarity_tables] == [(BUCKETS + 1, 3)] * 2


@pytest.mark.parametrize("heads", [1, 4])
def test_layer_checks(heads, tmp_path):
    check_layer(partial(make, "early_fusion", heads, dropout=0.25), inputs("early_fusion"), call, tmp_path)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"buckets": 0}, "`buckets` must be .* Received: 0"),
    ({"similarity_dim": -1}, "`similarity_dim` must be .* Received: -1"),
    ({"modalities": ()}, r"at least one; without content use TargetAttention.* Received: \(\)"),
])  # fmt: skip
def test_refuses_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        EarlyFusionTargetAttention(**arguments)
