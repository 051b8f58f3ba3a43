"""Rounded item tables: the values of so many bits, one table at a time, and a model that is as it was afterwards."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dmf_keras.layers import ContentEmbedding
from dmf_keras.models import ModalitySpec
from tests.dmf_keras.models.batches import SCHEMA, requests, small_model
from tests.dmf_keras.models.by_numpy import to_numpy
from tools.table_rounding import LEVELS, main, rounded, rounded_content, roundings


@pytest.mark.parametrize(("bits", "levels"), LEVELS.items())
def test_a_row_has_so_many_values_and_none_moves_by_more_than_half_a_step(bits, levels):
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(50, 200)) * rng.uniform(0.01, 100, (50, 1))
    matrix[3] = 0
    values = rounded(matrix, bits)
    step = np.abs(matrix).max(axis=1, keepdims=True) / levels
    assert np.abs(values - matrix).max(axis=1) == pytest.approx(step[:, 0] / 2, rel=0.2)
    assert (np.abs(values - matrix) <= step * 0.5001).all()
    assert max(len(np.unique(row)) for row in values) <= 2 * levels + 1
    assert (values[3] == 0).all()


def test_content_in_int8_is_what_the_layer_serves_and_int4_has_length_1():
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(30, 64)) * (np.arange(30) != 4)[:, None]
    exact, served = (ContentEmbedding(30, 64, dtype) for dtype in ("float32", "int8"))
    for layer in (exact, served):
        layer.set_rows(matrix)
    np.testing.assert_allclose(rounded_content(exact, 8), to_numpy(served(np.arange(30))[0]), atol=1e-7)
    lengths = np.linalg.norm(rounded_content(exact, 4), axis=1)
    np.testing.assert_allclose(lengths, (np.arange(30) % 30 > 0) & (np.arange(30) != 4), atol=1e-6)


def test_each_rounding_is_of_its_tables_alone_and_leaves_the_model_as_it_was():
    dtypes = {"text": ModalitySpec(6, "int8"), "image": ModalitySpec(5, "float16")}
    model, x = small_model(schema=dataclasses.replace(SCHEMA, modalities=dtypes)), requests(3, 4, 5)
    rng = np.random.default_rng(1)
    for weight in model.trainable_variables:
        weight.assign(rng.normal(scale=0.6, size=weight.shape))
    ids, before, found = np.array(model.item_embedding.embeddings), to_numpy(model(x)), {}
    for name, round_tables in roundings(model):
        round_tables()
        found[name] = np.abs(to_numpy(model(x)) - before).max()
        moved = not np.array_equal(np.array(model.item_embedding.embeddings), ids)
        assert moved == (not name.startswith("content")), name
    np.testing.assert_array_equal(to_numpy(model(x)), before)
    assert list(found) == [f"{of}, int{bits}" for of in ("content", "item IDs", "both") for bits in (8, 4)]
    assert 0 < found["item IDs, int8"] < found["item IDs, int4"]
    without = [name for name, _ in roundings(small_model(name="target_attention"))]
    assert without == ["item IDs, int8", "item IDs, int4"]


def test_a_model_that_is_not_there_is_a_sentence(tmp_path, capsys):
    assert main([str(tmp_path / "none"), "--examples", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("stopped: ")
