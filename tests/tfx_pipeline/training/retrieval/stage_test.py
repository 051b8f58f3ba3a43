"""Content tables that the towers share with the ranker they are exported with."""

from __future__ import annotations

import numpy as np
import pytest

from dmf_keras.models import ModalitySpec, RankingSchema, build_model
from tfx_pipeline.training.retrieval.stage import sharing_content

ITEMS = 9


def _model(name, seed, rows, dtype="float16"):
    schema = RankingSchema(item_rows=8, content_rows=ITEMS + 1, modalities={"text": ModalitySpec(6, dtype)})
    model = build_model(name, {}, schema, seed=seed)
    if model.content:
        model.content["text"].set_rows(rows)
    return model


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(size=(ITEMS + 1, 6))


@pytest.fixture
def tower(rows):
    return _model("two_towers", 1, rows)


def _vectors(tower):
    rows = np.array([[1, 5, 9], [2, 0, 0]], np.int32)
    index = np.minimum(rows, 7)
    users = tower.user_tower({"history_index": index, "history_content_row": rows})
    items = tower.item_tower({"candidate_index": index, "candidate_content_row": rows})
    return [np.asarray(users), np.asarray(items)]


@pytest.mark.parametrize("dtype", ["int8", "float16"])
def test_equal_tables_are_shared_and_vectors_stay(rows, dtype):
    tower, ranker = _model("two_towers", 1, rows, dtype), _model("dmf", 2, rows, dtype)
    before = [np.asarray(weight) for weight in ranker.weights]
    shared = sharing_content(tower, ranker)
    assert shared.content["text"] is ranker.content["text"]
    for one, other in zip(_vectors(tower), _vectors(shared), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, weight in zip(before, ranker.weights, strict=True):
        np.testing.assert_array_equal(one, np.asarray(weight))


def test_other_tables_or_none_are_not(tower, rows):
    assert sharing_content(tower, _model("dmf", 2, rows[::-1])) is tower
    assert sharing_content(tower, _model("dmf", 2, rows, "float32")) is tower
    assert sharing_content(tower, _model("target_attention", 2, rows)) is tower
