"""Users that training shows as unknown ones."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

from dmf_keras.models import model_config
from dmf_keras.models.unknown_ids import some_unknown
from tests.dmf_keras.models.batches import SCHEMA, requests, small_model
from tests.dmf_keras.models.by_numpy import to_numpy, weighted_model


def test_some_ids_become_the_last_row_and_padding_stays():
    draws = keras.random.SeedGenerator(1)
    index = np.tile(np.arange(10, dtype=np.int32), (500, 1))
    found = to_numpy(some_unknown(index, 0.3, 20, draws))
    changed = found != index
    assert (found[changed] == 19).all() and not changed[:, 0].any()
    # Within five standard errors of the share, of each ID by itself.
    assert np.abs(changed[:, 1:].mean(axis=0) - 0.3).max() < 5 * np.sqrt(0.3 * 0.7 / 500)
    assert (to_numpy(some_unknown(index, 0.3, 20, draws)) != found).any()
    np.testing.assert_array_equal(to_numpy(some_unknown(index, 0.0, 20, draws)), index)


def test_training_shows_some_users_as_unknown_and_serving_none():
    model = weighted_model("dmf", user_dropout=0.5)
    x = {**requests(200, 2, 3), "user_index": np.tile(np.arange(1, 6, dtype=np.int32), 40)}
    unknown = {**x, "user_index": np.full(200, SCHEMA.user_rows - 1, np.int32)}
    seen, trained, as_unknown = (
        to_numpy(model.encode_user(inputs, training)["user_part"])
        for inputs, training in ((x, False), (x, True), (unknown, False))
    )
    same, changed = np.isclose(trained, seen, atol=1e-5).all(-1), np.isclose(trained, as_unknown, atol=1e-5).all(-1)
    assert (same | changed).all() and 0.3 < changed.mean() < 0.7
    # The rest of the user is as it was.
    again = model.encode_user(x, True)
    np.testing.assert_array_equal(to_numpy(again["history_mask"]), x["history_index"] > 0)
    still = weighted_model("dmf")
    for one, other in zip(still.encode_user(x, True).values(), still.encode_user(x).values(), strict=True):
        np.testing.assert_array_equal(to_numpy(one), to_numpy(other))


def test_a_model_without_users_has_nothing_to_do():
    schema = dataclasses.replace(SCHEMA, user_rows=None)
    model = small_model({"user_dropout": 0.5}, schema)
    x = requests(4, 2, 3)
    del x["user_index"]
    one, other = (to_numpy(model.encode_user(x, training)["user_part"]) for training in (True, False))
    np.testing.assert_array_equal(one, other)


def test_it_is_saved_with_the_model_and_left_out_where_it_is_not_used(tmp_path):
    model = small_model({"user_dropout": 0.25})
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.config.user_dropout == 0.25
    x = requests(3, 2, 3)
    np.testing.assert_allclose(to_numpy(loaded(x)), to_numpy(model(x)), atol=1e-6)
    assert "user_dropout" not in small_model().config.to_dict()


@pytest.mark.parametrize("share", [-0.1, 1, "0.1"])
def test_refuses_a_share_that_is_none(share):
    with pytest.raises(ValueError, match=r"user_dropout must be a number from 0 to 0\.95"):
        model_config("din", {"user_dropout": share})
