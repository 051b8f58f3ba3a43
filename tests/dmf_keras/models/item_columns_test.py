"""Models over a schema with item columns: what an item is, for candidates and for the history."""

from __future__ import annotations

import dataclasses
import functools

import keras
import numpy as np
import pytest

from dmf_keras.models import ItemColumnSpec, RankingSchema, interest_model, model_names
from dmf_keras.models.inputs import of_history
from tests.dmf_keras.models.batches import ITEMS, SCHEMA, requests, small_model
from tests.dmf_keras.models.expected import MODELS

to_numpy = keras.ops.convert_to_numpy
COLUMNS = {"genres": ItemColumnSpec(6, 3), "brand": ItemColumnSpec(4), "year": ItemColumnSpec()}
WITH_COLUMNS = dataclasses.replace(SCHEMA, item_columns=COLUMNS)


def tables(seed=3):
    rng = np.random.default_rng(seed)
    genres = rng.integers(1, 6, (ITEMS, 3)) * (np.arange(3) < rng.integers(0, 4, (ITEMS, 1)))
    return {"genres": genres, "brand": rng.integers(0, 4, (ITEMS, 1)), "year": rng.normal(size=ITEMS)}


def model_with_columns(name):
    model = small_model(name=name, schema=WITH_COLUMNS)
    model.item_columns.set_rows(tables())
    return model


# For tests that leave its tables as they are.
kept = functools.cache(model_with_columns)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="other backends make items where they stand")
# Items joined with content, compared by it, and made of codes.
@pytest.mark.parametrize("name", ["content_concat", "dmf", "sid_coord"])
def test_a_training_step_makes_each_item_once_and_learns_the_same(name, monkeypatch):
    schema = dataclasses.replace(WITH_COLUMNS, histories=("buys",))
    x, y = requests(6, 4, 5), np.random.default_rng(1).integers(0, 2, (6, 4)).astype(np.float32)
    x["history_index"][:, :2] = x["history_content_row"][:, :2] = 0
    x |= {of_history(key, "buys"): x[key][:, 1:4] for key in ("history_index", "history_content_row")}
    weights, made = [], []
    for once in (True, False):
        monkeypatch.setattr(interest_model, "CAN_TELL_DISTINCT", once)
        model = small_model(name=name, schema=schema)
        model.item_columns.set_rows(tables())
        kept = model.item_columns.call
        monkeypatch.setattr(model.item_columns, "call", lambda rows, kept=kept: made.append(rows.shape) or kept(rows))
        model.compile(keras.optimizers.SGD(0.5), jit_compile=False)
        model.train_on_batch(x, y)
        weights.append([to_numpy(each) for each in model.trainable_variables])
    for found, expected in zip(*weights, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    shapes = {tuple(shape) for shape in made}
    # Of the further history the items that there are, which the graph does not know; then where they stand.
    assert (1, None) in shapes and (6, 5) in shapes


@pytest.mark.parametrize("name", model_names())
class TestEveryModel:
    def test_columns_of_candidates_and_of_the_history_move_scores(self, name):
        model, x = model_with_columns(name), requests(3, 6, 5)
        before = to_numpy(model(x))
        row = x["candidate_content_row"].max()
        other = tables()
        # By much: of a head this small, units may be dead.
        other["year"][row] += 100
        model.item_columns.set_rows(other)
        after = to_numpy(model(x))
        holds_it = x["candidate_content_row"] == row
        in_history = (x["history_content_row"] == row).any(axis=1) & MODELS[name].history_ids
        moved = ~np.isclose(before, after, atol=1e-7)
        assert moved[holds_it].all()
        assert not moved[~holds_it & ~in_history[:, None]].any()

    def test_an_item_outside_the_catalogue_is_scored(self, name):
        model, x = kept(name), requests(3, 6, 5)
        nowhere = {**x, **{key: np.zeros_like(x[key]) for key in ("candidate_content_row", "history_content_row")}}
        assert np.isfinite(to_numpy(model(nowhere))).all()

    def test_padding_and_other_candidates_change_nothing(self, name):
        model, x = kept(name), requests(2, 4, 3)
        padded = {k: np.pad(v, ((0, 0), (0, 2))) if v.ndim == 2 else v for k, v in x.items()}
        np.testing.assert_allclose(to_numpy(model(padded))[:, :4], to_numpy(model(x)), atol=1e-5)
        alone = {k: v[:, :1] if k.startswith("candidate") else v for k, v in x.items()}
        np.testing.assert_allclose(to_numpy(model(alone)), to_numpy(model(x))[:, :1], atol=1e-5)

    def test_contributions_add_up_to_the_logit(self, name):
        model, x = kept(name), requests(2, 4, 3)
        told = {k: to_numpy(v) for k, v in model.explain(model.encode_user(x), x).items()}
        parts = sum(value for key, value in told.items() if key.startswith("contribution_"))
        np.testing.assert_allclose(told["base_logit"] + parts, to_numpy(model(x)), atol=1e-4)

    def test_saved_with_its_columns(self, name, tmp_path):
        model, x = kept(name), requests(2, 4, 3)
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        assert loaded.schema == WITH_COLUMNS
        np.testing.assert_array_equal(to_numpy(loaded(x)), to_numpy(model(x)))


def test_an_item_is_its_id_and_its_columns_projected_once():
    model, x = model_with_columns("dmf_paper"), requests(2, 4, 3)
    found = to_numpy(model.candidate_items(x))
    columns = tables()
    embeddings = to_numpy(model.item_columns.embeddings)
    for place, row in np.ndenumerate(x["candidate_content_row"]):
        # Row 0 is an item outside the catalogue, whatever a table holds there.
        named = ([genre for genre in columns["genres"][row] if genre] if row else []) or [0]
        vector = [
            to_numpy(model.item_embedding.embeddings)[x["candidate_index"][place]],
            np.mean(embeddings[named], axis=0),
            embeddings[6 + (columns["brand"][row, 0] if row else 0)],
            [columns["year"][row] if row else 0.0],
        ]
        expected = np.concatenate(vector) @ to_numpy(model.item_projection.kernel)
        np.testing.assert_allclose(found[place], expected, atol=1e-5)
    np.testing.assert_allclose(
        to_numpy(model.item_vectors(x["history_index"], x["history_content_row"])), to_numpy(model.history_items(x))
    )


def test_a_schema_without_columns_is_written_as_before():
    assert "item_columns" not in SCHEMA.to_dict()
    assert RankingSchema.from_dict(SCHEMA.to_dict()) == SCHEMA
    assert RankingSchema.from_dict(WITH_COLUMNS.to_dict()) == WITH_COLUMNS
    assert small_model().item_columns is None


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"genres": ItemColumnSpec(0)}, "item_columns.genres.rows must be an integer of at least 1"),
        ({"genres": ItemColumnSpec(3, 0)}, "item_columns.genres.width"),
        ({"two words": ItemColumnSpec(3)}, "names are letters"),
    ],
)
def test_refuses_columns_that_are_none(columns, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SCHEMA, item_columns=columns)
