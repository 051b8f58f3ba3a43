"""Models of several objectives: shapes, loss, training, saving, calibration; one objective stays what it was."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

from dmf_keras.models import ObjectiveSpec, RankingSchema, model_names
from dmf_keras.models.objectives import ObjectiveAUC
from dmf_keras.models.ranking_model import RankingModel
from tests.dmf_keras.models.batches import SCHEMA, requests, small_model
from tests.dmf_keras.models.expected import MODELS

to_numpy = keras.ops.convert_to_numpy
OBJECTIVES = (ObjectiveSpec("click"), ObjectiveSpec("buy", "click", 0.5), ObjectiveSpec("like"))
SEVERAL = dataclasses.replace(SCHEMA, objectives=OBJECTIVES)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x.astype(float)))


def test_schema_round_trip_and_one_objective_is_written_as_before():
    assert RankingSchema.from_dict(SEVERAL.to_dict()) == SEVERAL
    assert SEVERAL.parents == (None, 0, None)
    assert "objectives" not in SCHEMA.to_dict() and SCHEMA.parents == ()
    assert "experts" not in small_model().config.to_dict()


@pytest.mark.parametrize(
    ("objectives", "message"),
    [
        ((ObjectiveSpec("click"),), "at least two"),
        ((ObjectiveSpec("click"), ObjectiveSpec("click")), "each once"),
        ((ObjectiveSpec("click"), ObjectiveSpec("no name")), "words that begin"),
        ((ObjectiveSpec("click", "buy"), ObjectiveSpec("buy")), "given one before it, got 'buy'"),
        ((ObjectiveSpec("click"), ObjectiveSpec("buy", weight=0)), "weight above 0"),
    ],
)
def test_impossible_objectives(objectives, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SCHEMA, objectives=objectives)


@pytest.mark.parametrize("experts", [0, 2])
@pytest.mark.parametrize("name", model_names())
def test_every_model_has_a_logit_per_objective(name, experts):
    if experts and not MODELS[name].experts:
        pytest.skip("its head has no experts")
    model = small_model({"experts": experts} if experts else {}, SEVERAL, name=name)
    x = requests(3, 4, 5)
    logits = model(x)
    assert tuple(logits.shape) == (3, 4, 3)
    # Other candidates and their order change nothing.
    one = {**x, **{key: x[key][:, [2]] for key in ("candidate_index", "candidate_content_row")}}
    np.testing.assert_allclose(to_numpy(model(one))[:, 0], to_numpy(logits)[:, 2], atol=1e-5)
    told = model.explain(model.encode_user(x), x)
    np.testing.assert_allclose(to_numpy(told["logit"]), to_numpy(logits)[..., 0], atol=1e-4)


def test_loss_is_the_weighted_sum_over_real_candidates_of_products():
    model = small_model(schema=SEVERAL)
    model.compile(metrics=[ObjectiveAUC(place, name=f"auc{place}") for place in range(3)])
    x = requests(4, 5, 6)
    x["candidate_index"][:, 3:] = 0
    rng = np.random.default_rng(0)
    click, like = rng.integers(0, 2, (2, 4, 5))
    y = np.stack([click, click * rng.integers(0, 2, (4, 5)), like], axis=-1).astype(np.float32)
    weight = rng.uniform(0.5, 2, (4, 5)).astype(np.float32)
    p = _sigmoid(to_numpy(model(x)))
    p[..., 1] *= p[..., 0]
    losses = -(y * np.log(p) + (1 - y) * np.log1p(-p)) @ np.array([1.0, 0.5, 1.0])
    expected = (losses * weight)[:, :3].sum() / weight[:, :3].sum()
    # What padding holds does not matter.
    y[:, 3:] = np.nan
    found = model.test_on_batch(x, y, weight, return_dict=True)
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-5)
    for place in range(3):
        auc = keras.metrics.AUC(1000)
        auc.update_state(y[:, :3, place].ravel(), p[:, :3, place].ravel(), weight[:, :3].ravel())
        np.testing.assert_allclose(found[f"auc{place}"], float(auc.result()), atol=2e-3)


def test_kept_negatives_correct_the_first_logit_and_the_conditional_ones_through_it():
    model = small_model(schema=dataclasses.replace(SCHEMA, objectives=OBJECTIVES[:2]))
    model.compile(kept_negatives=0.25)
    x, y = requests(4, 5, 6), np.zeros((4, 5, 2), np.float32)
    logits = to_numpy(model(x)).astype(float)
    p = _sigmoid(logits + np.array([np.log(4), 0]))
    expected = -np.log1p(-p[..., 0]).mean() - 0.5 * np.log1p(-p[..., 0] * p[..., 1]).mean()
    loss = model.compute_loss(x, y, keras.ops.convert_to_tensor(logits.astype(np.float32)), None, training=True)
    np.testing.assert_allclose(float(to_numpy(loss)), expected, rtol=1e-5)


def test_fit_save_and_load(tmp_path):
    model = small_model({"experts": 2}, SEVERAL)
    model.compile(keras.optimizers.Adam(0.01), metrics=[ObjectiveAUC(0, name="auc"), ObjectiveAUC(1, name="buy_auc")])
    x = requests(32, 5, 6)
    rng = np.random.default_rng(0)
    click = (x["candidate_index"] % 2).astype(np.float32)
    y = np.stack([click, click * (x["candidate_index"] % 3 == 0), rng.integers(0, 2, click.shape)], -1)
    history = model.fit(x, y, epochs=15, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert history["auc"][-1] > 0.7 and history["buy_auc"][-1] > 0.7
    model.calibrate(np.array([-1.0, 1.0]), np.array([-2.0, 0.0]))
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras.models.load_model(path)
    assert isinstance(loaded, RankingModel) and loaded.schema == SEVERAL
    np.testing.assert_allclose(to_numpy(loaded(x)), to_numpy(model(x)), atol=1e-6)
    np.testing.assert_allclose(
        to_numpy(loaded.probabilities(loaded(x))), to_numpy(model.probabilities(model(x))), atol=1e-6
    )


def test_calibration_is_of_the_first_objective():
    model = small_model(schema=SEVERAL)
    logits = np.random.default_rng(0).normal(size=(2, 3, 3)).astype(np.float32)
    model.calibrate(np.array([-1.0, 1.0]), np.array([-2.0, 0.0]))
    p = to_numpy(model.probabilities(logits))
    np.testing.assert_allclose(p[..., 0], _sigmoid(logits[..., 0] - 1), rtol=1e-5)
    np.testing.assert_allclose(p[..., 1:], _sigmoid(logits[..., 1:]), rtol=1e-5)


def test_a_model_of_one_logit_refuses_several_objectives():
    class OneLogit(RankingModel):
        has_objectives = False

    with pytest.raises(ValueError, match="has one logit per candidate, but there are 3 objectives"):
        OneLogit(SEVERAL, small_model().config)


def test_labels_of_one_objective_are_refused_by_name():
    model = small_model(schema=SEVERAL)
    model.compile()
    with pytest.raises(ValueError, match=r"labels.*batch, candidates, objectives"):
        model.test_on_batch(requests(2, 3, 4), np.zeros((2, 3), np.float32))
