"""Models over a schema with columns of several values."""

from __future__ import annotations

import dataclasses
import functools
import json

import keras
import numpy as np
import pytest

from dmf_keras.models import RankingSchema, model_names
from dmf_keras.models.inputs import InputSpec, user_inputs
from tests.dmf_keras.models.batches import SCHEMA, requests, small_model

to_numpy = keras.ops.convert_to_numpy
WITH_LISTS = dataclasses.replace(SCHEMA, categorical_lists={"tags": 6, "moods": 4})
TAGS = np.array([[1, 3, 0], [5, 0, 0], [0, 0, 0]])
MOODS = np.array([[2], [0], [3]])


def inputs():
    return {**requests(3, 4, 3), "tags": TAGS, "moods": MOODS}


def model_of(name):
    return small_model(name=name, schema=WITH_LISTS)


# For tests that leave its weights as they are.
kept = functools.cache(model_of)


@pytest.mark.parametrize("name", model_names())
class TestEveryModel:
    def test_they_move_scores_of_their_request_alone(self, name):
        model, x = model_of(name), inputs()
        # By much: of a head this small, units may be dead.
        table = model.list_embeddings["tags"].table
        table.assign(to_numpy(table) * 1000)
        before, after = (to_numpy(model({**x, "tags": tags})) for tags in (TAGS, TAGS + np.array([[1], [0], [0]])))
        assert not np.isclose(before[0], after[0], atol=1e-6).any()
        np.testing.assert_allclose(before[1:], after[1:], atol=1e-5)

    def test_padding_and_order_of_values_change_nothing(self, name):
        model, x = kept(name), inputs()
        before = to_numpy(model(x))
        others = {"tags": np.pad(TAGS[:, ::-1], ((0, 0), (2, 4))), "moods": np.pad(MOODS, ((0, 0), (1, 0)))}
        np.testing.assert_allclose(to_numpy(model({**x, **others})), before, atol=1e-5)

    def test_factored_equals_whole(self, name):
        model, x = kept(name), inputs()
        np.testing.assert_allclose(to_numpy(model.score(model.encode_user(x), x)), to_numpy(model(x)), atol=1e-6)

    def test_contributions_add_up_to_the_logit(self, name):
        model, x = kept(name), inputs()
        told = {key: to_numpy(value) for key, value in model.explain(model.encode_user(x), x).items()}
        parts = sum(value for key, value in told.items() if key.startswith("contribution_"))
        np.testing.assert_allclose(told["base_logit"] + parts, to_numpy(model(x)), atol=1e-4)


def test_they_are_part_of_the_user_after_the_columns_of_one_value():
    model, x = model_of("dmf_paper"), inputs()
    features = {name: to_numpy(value) for name, value in model.user_features(x, {}).items()}
    assert list(features) == ["gender", "hour", "tags", "moods", "user_index", "age", "price"]
    table = to_numpy(model.list_embeddings["tags"].table)
    expected = [(table[1] + table[3]) / 2, table[5], table[0]]
    np.testing.assert_allclose(features["tags"], expected, atol=1e-6)
    assert sum(value.shape[1] for value in features.values()) == model.user_width()


def test_saved_and_loaded(tmp_path):
    model, x = model_of("dmf"), inputs()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.schema == WITH_LISTS
    np.testing.assert_array_equal(to_numpy(loaded(x)), to_numpy(model(x)))


def test_the_schema_says_so_where_there_are_any():
    assert "categorical_lists" not in SCHEMA.to_dict()
    assert RankingSchema.from_dict(json.loads(json.dumps(WITH_LISTS.to_dict()))) == WITH_LISTS
    assert user_inputs(WITH_LISTS)["tags"] == InputSpec("int32", (None, None))
    with pytest.raises(
        ValueError, match=r"categorical_lists\.tags must be .* got 0; .*'gender' is named more than once"
    ):
        dataclasses.replace(SCHEMA, categorical_lists={"tags": 0, "gender": 3})


def test_one_value_a_request_is_refused():
    with pytest.raises(ValueError, match="tags"):
        model_of("dmf")({**inputs(), "tags": TAGS[:, 0]})
