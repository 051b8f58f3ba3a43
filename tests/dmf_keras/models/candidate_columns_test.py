"""Models over a schema with candidate columns: those that are features, and those that say how items were shown."""

from __future__ import annotations

import dataclasses
import functools

import keras
import numpy as np
import pytest

from dmf_keras.models import ObjectiveSpec, RankingSchema, model_names
from dmf_keras.models.inputs import as_shown
from tests.dmf_keras.models.batches import SCHEMA, requests, small_model
from tests.dmf_keras.models.expected import MODELS

to_numpy = keras.ops.convert_to_numpy
WITH_COLUMNS = dataclasses.replace(
    SCHEMA,
    candidate_categorical={"slot": 4, "position": 6},
    candidate_numeric=("price_shown", "depth"),
    candidate_bias={"position": 1, "depth": -0.5},
)
every_model = pytest.mark.parametrize("name", model_names())


def model_of(name, schema=WITH_COLUMNS):
    model = small_model(name=name, schema=schema)
    rng = np.random.default_rng(1)
    for weight in model.trainable_variables:
        weight.assign(rng.normal(scale=MODELS[name].scale, size=weight.shape))
    return model


# For tests that leave its weights as they are, and statistics of batches of training.
kept = functools.cache(model_of)


def with_columns(x, *, shown=False, seed=2):
    rng, shape = np.random.default_rng(seed), x["candidate_index"].shape
    columns = {"slot": rng.integers(0, 4, shape), "price_shown": rng.normal(size=shape).astype("float32")}
    if shown:
        columns |= {"position": rng.integers(0, 6, shape), "depth": rng.normal(size=shape).astype("float32")}
    return {**x, **columns}


@every_model
class TestEveryModel:
    def test_a_feature_moves_the_score_of_its_candidate_alone(self, name):
        model, x = kept(name), with_columns(requests(3, 6, 5))
        for column in ("slot", "price_shown"):
            changed = x[column].copy()
            changed[:, 1] = 3 - changed[:, 1] if column == "slot" else changed[:, 1] + 5
            moved = ~np.isclose(to_numpy(model(x)), to_numpy(model({**x, column: changed})), atol=1e-6)
            assert moved[:, 1].any()
            assert not np.delete(moved, 1, axis=1).any()

    def test_how_it_was_shown_is_seen_in_training_alone(self, name):
        model, x = model_of(name), requests(3, 6, 5)
        given, other = with_columns(x, shown=True), with_columns(x, shown=True)
        other |= {"position": 5 - given["position"], "depth": given["depth"] + 1}
        np.testing.assert_array_equal(to_numpy(model(given)), to_numpy(model(other)))
        np.testing.assert_array_equal(to_numpy(model(given)), to_numpy(model(with_columns(x))))
        assert not np.allclose(to_numpy(model(given, training=True)), to_numpy(model(other, training=True)), atol=1e-3)
        constants = {
            "position": np.full_like(given["position"], 1),
            "depth": np.full_like(given["depth"], -0.5),
        }
        # Not of whole scores: some models have statistics of the batch in training.
        as_served = to_numpy(model.bias({**given, **constants}, training=True))
        np.testing.assert_allclose(as_served, to_numpy(model.bias(given, training=False))[0, 0], atol=1e-5)

    def test_of_several_objectives_it_is_the_first_that_it_moves(self, name):
        objectives = (ObjectiveSpec("click"), ObjectiveSpec("buy", "click"))
        model = model_of(name, dataclasses.replace(WITH_COLUMNS, objectives=objectives))
        given = with_columns(requests(3, 6, 5), shown=True)
        told = {**given, **{as_shown(column): given[column] for column in ("position", "depth")}}
        moved = to_numpy(model(told)) - to_numpy(model(given))
        assert moved.shape == (3, 6, 2)
        assert np.abs(moved[..., 0]).max() > 1e-3 and not moved[..., 1].any()
        assert to_numpy(model.explain(model.encode_user(given), given)["logit"]).shape == (3, 6)

    def test_validation_may_say_how_it_was_shown(self, name):
        model, x = kept(name), requests(3, 6, 5)
        given = with_columns(x, shown=True)
        told = {**given, **{as_shown(column): given[column] for column in ("position", "depth")}}
        bias = to_numpy(model.bias(given, training=True))
        np.testing.assert_allclose(to_numpy(model.bias(told, training=False)), bias, atol=1e-6)
        constant = float(to_numpy(model.bias(given, training=False))[0, 0])
        np.testing.assert_allclose(to_numpy(model(told)) - to_numpy(model(given)), bias - constant, atol=1e-4)

    def test_the_order_of_scores_is_that_without_the_tower(self, name):
        model, x = model_of(name), with_columns(requests(3, 6, 5))
        biased = to_numpy(model(x))
        constant = float(to_numpy(model.bias(x, training=False))[0, 0])
        for weight in model.bias_tower.trainable_variables:
            weight.assign(np.zeros(weight.shape))
        np.testing.assert_allclose(biased - to_numpy(model(x)), constant, atol=1e-5)

    def test_padding_and_other_candidates_change_nothing(self, name):
        model, x = model_of(name), with_columns(requests(2, 4, 3), shown=True)
        padded = {k: np.pad(v, ((0, 0), (0, 2))) if v.ndim == 2 else v for k, v in x.items()}
        for column in ("price_shown", "depth"):
            padded[column][:, 4:] = np.nan
        for training in (False, True):
            if training and (model.config.dropout or MODELS[name].noisy):
                continue
            whole, some = to_numpy(model(padded, training=training)), to_numpy(model(x, training=training))
            np.testing.assert_allclose(whole[:, :4], some, atol=1e-5)
        alone = {k: v[:, :1] if k.startswith("candidate") or k in COLUMN_NAMES else v for k, v in x.items()}
        np.testing.assert_allclose(to_numpy(model(alone)), to_numpy(model(x))[:, :1], atol=1e-5)

    def test_contributions_add_up_to_the_logit(self, name):
        model, x = kept(name), with_columns(requests(2, 4, 3))
        told = {k: to_numpy(v) for k, v in model.explain(model.encode_user(x), x).items()}
        parts = sum(value for key, value in told.items() if key.startswith("contribution_"))
        np.testing.assert_allclose(told["base_logit"] + parts, to_numpy(model(x)), atol=1e-4)
        other = {**x, "price_shown": x["price_shown"] + 5}
        moved = {k: to_numpy(v) for k, v in model.explain(model.encode_user(other), other).items()}
        assert not np.allclose(told["contribution_columns"], moved["contribution_columns"], atol=1e-3)

    def test_saved_with_its_columns(self, name, tmp_path):
        model, x = kept(name), with_columns(requests(2, 4, 3))
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        assert loaded.schema == WITH_COLUMNS
        np.testing.assert_array_equal(to_numpy(loaded(x)), to_numpy(model(x)))


COLUMN_NAMES = ("slot", "price_shown", "position", "depth")


def test_fit_learns_a_bias_that_evaluate_does_not_see():
    """Labels that follow the position alone: training explains them, and scores outside of it do not change by it."""
    schema = dataclasses.replace(SCHEMA, candidate_categorical={"position": 3}, candidate_bias={"position": 1})
    model = small_model(name="mean_pooling", schema=schema)
    x = requests(64, 4, 3)
    position = np.random.default_rng(0).integers(1, 3, x["candidate_index"].shape)
    x = {**x, "position": position}
    y = (position == 1).astype("float32")
    model.compile(optimizer=keras.optimizers.Adam(0.02), metrics=[keras.metrics.AUC(from_logits=True, name="auc")])
    fitted = model.fit(x, y, epochs=30, batch_size=16, verbose=0)
    assert fitted.history["auc"][-1] > 0.95
    evaluated = model.evaluate(x, y, verbose=0, return_dict=True)
    without = {name: value for name, value in x.items() if name != "position"}
    np.testing.assert_allclose(model.evaluate(without, y, verbose=0, return_dict=True)["loss"], evaluated["loss"])
    np.testing.assert_allclose(model.predict(without, verbose=0), model.predict(x, verbose=0))
    told = {**without, as_shown("position"): position}
    assert model.evaluate(told, y, verbose=0, return_dict=True)["auc"] > 0.95
    # At the first position, where all are clicked.
    assert to_numpy(keras.ops.sigmoid(model.predict(without, verbose=0))).mean() > 0.7


def test_gradients_are_finite_where_padding_is_not():
    model = model_of("dmf")
    x = with_columns(requests(4, 5, 3), shown=True)
    x["candidate_index"][:, 3:] = 0
    for column in ("price_shown", "depth"):
        x[column][:, 3:] = np.nan
    y = np.where(x["candidate_index"] != 0, 1.0, np.nan).astype("float32")
    model.compile()
    model.fit(x, y, epochs=1, batch_size=4, verbose=0)
    for weight in model.trainable_variables:
        assert np.isfinite(to_numpy(weight)).all(), weight.path


def test_inputs_that_are_missing_are_named():
    model, x = model_of("dmf"), requests(2, 4, 3)
    with pytest.raises(ValueError, match="missing inputs: slot, price_shown"):
        model(x)
    with pytest.raises(ValueError, match="missing inputs: position, depth"):
        model(with_columns(x), training=True)


def test_a_schema_without_columns_is_written_as_before():
    assert not [name for name in SCHEMA.to_dict() if name.startswith("candidate")]
    assert RankingSchema.from_dict(WITH_COLUMNS.to_dict()) == WITH_COLUMNS
    assert small_model().bias_tower is small_model().candidate_columns is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"candidate_categorical": {"slot": 0}}, "candidate_categorical.slot must be an integer of at least 1"),
        ({"candidate_numeric": ("two words",)}, "names are letters"),
        ({"candidate_numeric": (next(iter(SCHEMA.numeric)),)}, "is named more than once"),
        ({"candidate_numeric": ("candidate_index",)}, "is taken by the model's own input"),
        ({"candidate_bias": {"slot": 1}}, "candidate_bias.slot: there is no candidate column"),
        ({"candidate_categorical": {"slot": 3}, "candidate_bias": {"slot": 3}}, "must be an index below 3, got 3"),
    ],
)
def test_refuses_columns_that_are_none(fields, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SCHEMA, **fields)
