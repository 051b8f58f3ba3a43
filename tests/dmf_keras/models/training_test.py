"""fit, saving and loading of a real model on real tf.data."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.dmf_keras.models.batches import ITEMS, requests, small_model

to_numpy = keras.ops.convert_to_numpy


def _labels(model, x):
    """Clicked when the text of candidate and last history item point the same way: learnable from content alone."""
    vectors = to_numpy(model.content["text"].table).astype(np.float32)
    history = vectors[x["history_content_row"][:, :1]]
    return (np.einsum("bnd,bld->bn", vectors[x["candidate_content_row"]], history) > 0).astype(np.float32)


def _batches(model, count=6, batch=64):
    """Batches of different history lengths and numbers of candidates, padded as a data pipeline pads them."""

    def generate():
        for step in range(count):
            x = requests(batch, 3 + step % 3, 2 + step % 4, seed=step)
            y = _labels(model, x)
            padding = ((0, 0), (0, 2))
            x |= {name: np.pad(x[name], padding) for name in ("candidate_index", "candidate_content_row")}
            yield x, np.pad(y, padding, constant_values=1), np.pad(np.ones_like(y), padding)

    spec = tf.nest.map_structure(lambda a: tf.TensorSpec([None] * a.ndim, a.dtype), next(generate()))
    return tf.data.Dataset.from_generator(generate, output_signature=spec).apply(
        tf.data.experimental.assert_cardinality(count)
    )


def _auc():
    return keras.metrics.AUC(from_logits=True, name="auc")


def test_fit_learns_from_content():
    model = small_model({"histogram": "raw"})
    model.compile(keras.optimizers.Adam(0.02), metrics=[_auc()])
    history = model.fit(_batches(model), epochs=12, verbose=0).history
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    assert history["auc"][-1] > 0.75
    assert int(model.optimizer.iterations) == 12 * 6


def test_a_step_is_traced_once(monkeypatch):
    model, traced = small_model(), []
    step = model.train_step
    monkeypatch.setattr(model, "train_step", lambda *args: traced.append(args) or step(*args))
    model.compile("adam", weighted_metrics=[_auc()], jit_compile=False)
    x = requests(6, 3, 4)
    model.fit(x, np.ones((6, 3)), batch_size=2, verbose=0)
    assert len(traced) == 1


def test_loss_is_the_mean_over_real_candidates_and_metrics_see_only_those():
    model = small_model()
    model.compile(metrics=[_auc(), keras.metrics.BinaryAccuracy(threshold=0.0, name="accuracy")])
    x = requests(4, 5, 6)
    x["candidate_index"][:, 3:] = 0
    y = np.random.default_rng(0).integers(0, 2, (4, 5)).astype(np.float32)
    logits = to_numpy(model(x))[:, :3].ravel().astype(float)
    kept = y[:, :3].ravel()
    expected = np.mean(np.log1p(np.exp(-logits)) * kept + np.log1p(np.exp(logits)) * (1 - kept))
    weights = (x["candidate_index"] > 0).astype(np.float32)
    for sample_weight in (None, weights, np.ones((4, 5), np.float32)):
        result = model.evaluate(x, y, sample_weight=sample_weight, verbose=0, return_dict=True)
        assert result["loss"] == pytest.approx(expected, abs=1e-6)
        assert result["accuracy"] == pytest.approx(np.mean((logits > 0) == kept), abs=1e-6)
    doubled = weights * np.where(np.arange(5) == 0, 2, 1)
    losses = (np.log1p(np.exp(-logits)) * kept + np.log1p(np.exp(logits)) * (1 - kept)).reshape(4, 3)
    weighted = model.evaluate(x, y, sample_weight=doubled.astype(np.float32), verbose=0, return_dict=True)["loss"]
    assert weighted == pytest.approx(np.average(losses, weights=doubled[:, :3]), abs=1e-6)
    with pytest.raises(Exception, match="reshape"):
        model.evaluate(x, y, sample_weight=np.ones(4, np.float32), verbose=0)


def test_metrics_must_be_a_list():
    with pytest.raises(TypeError, match=r"must be a list of metrics. Received: 'auc'"):
        small_model().compile(metrics="auc")


@pytest.mark.parametrize("params", [{}, {"mixing": "gate", "heads": 2, "dropout": 0.2, "embedding_l2": 1e-5}])
def test_saved_model_goes_on_as_if_nothing_had_happened(params, tmp_path):
    model = small_model(params)
    model.compile(keras.optimizers.Adam(0.01), metrics=[_auc()], run_eagerly=bool(params))
    model.fit(_batches(model, 2), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = requests(3, 4, 5)
    assert loaded.get_config() == model.get_config()
    assert type(model).from_config(model.get_config()).get_config() == model.get_config()
    np.testing.assert_array_equal(to_numpy(loaded(x)), to_numpy(model(x)))
    assert int(loaded.optimizer.iterations) == 2
    evaluated = [m.evaluate(_batches(model, 2), verbose=0, return_dict=True) for m in (model, loaded)]
    assert evaluated[0] == pytest.approx(evaluated[1])
    if not params.get("dropout"):
        for one in (model, loaded):
            one.fit(_batches(model, 2), verbose=0)
        np.testing.assert_allclose(to_numpy(loaded(x)), to_numpy(model(x)), atol=1e-6)


def test_content_can_be_replaced_after_training_and_is_not_trained():
    model = small_model()
    model.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    before = to_numpy(model.content["text"].table).copy()
    model.fit(_batches(model, 2), verbose=0)
    np.testing.assert_array_equal(to_numpy(model.content["text"].table), before)
    x = requests(3, 4, 5)
    scores = to_numpy(model(x))
    model.content["text"].set_rows(np.random.default_rng(9).normal(size=(ITEMS, 6)))
    assert np.abs(to_numpy(model(x)) - scores).max() > 1e-4


def test_same_seed_trains_to_the_same_weights():
    trained = []
    for _ in range(2):
        model = small_model({"dropout": 0.1}, seed=3)
        model.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
        model.fit(_batches(model, 3), verbose=0)
        trained.append([to_numpy(weight) for weight in model.weights])
    for one, other in zip(*trained, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_quantile_edges_are_adapted_and_saved(tmp_path):
    model = small_model({"bucket_edges": "quantile"})
    model.compile("adam", run_eagerly=True)
    batches = _batches(model)
    with pytest.raises(ValueError, match=r"call model\.adapt"):
        model.fit(batches, verbose=0)
    inputs = [{name: to_numpy(value) for name, value in x.items()} for x, _, _ in batches]
    model.adapt(inputs)
    edges = to_numpy(model.similarity["text"].edge_values)
    assert (np.diff(edges) > 0).all()
    counts = np.zeros(8)
    for x in inputs:
        vectors, present = model.candidate_vectors(x, "text")
        history, has_content = model.content["text"](x["history_content_row"])
        ids = to_numpy(model.similarity["text"](vectors, history, present, has_content))
        real = (x["candidate_index"] > 0)[:, :, None] & (x["history_index"] > 0)[:, None]
        counts += np.bincount(ids[real], minlength=8)
    np.testing.assert_allclose(counts[:7] / counts[:7].sum(), 1 / 7, atol=0.02)
    model.fit(_batches(model, 1), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(to_numpy(loaded(inputs[0])), to_numpy(model(inputs[0])))
    assert loaded.similarity["text"].adapted


def test_quantile_edges_need_content():
    model = small_model({"bucket_edges": "quantile"})
    model.content["image"].set_rows(np.zeros((ITEMS, 5)))
    with pytest.raises(ValueError, match=r"modality 'image' need pairs with content on both sides. Received: none"):
        model.adapt([requests(3, 4, 5)])


def test_a_share_of_the_negatives_leaves_the_model_calibrated():
    """A model that can only learn the click rate learns that of all, from a fifth of the negatives."""
    rng = np.random.default_rng(5)
    rate, share, count = 0.1, 0.2, 4000
    labels = (rng.random(count) < rate).astype(np.float32)
    kept = labels[(labels == 1) | (rng.random(count) < share)]

    def learnt(labels, **options):
        model = small_model(name="mean_pooling")
        model.compile(keras.optimizers.Adam(0.02), **options)
        x = {name: np.repeat(value[:1] * 0, len(labels), axis=0) for name, value in requests(1, 1, 1).items()}
        x["candidate_index"][:] = x["candidate_content_row"][:] = 1
        model.fit(x, labels[:, None], batch_size=256, epochs=12, verbose=0)
        return to_numpy(keras.ops.sigmoid(model({name: value[:1] for name, value in x.items()}))).item()

    assert learnt(labels) == pytest.approx(labels.mean(), abs=0.02)
    assert learnt(kept) > 0.3
    assert learnt(kept, kept_negatives=share) == pytest.approx(labels.mean(), abs=0.02)


def test_only_training_is_corrected_for_missing_negatives():
    x, y = requests(4, 5, 6), np.zeros((4, 5), np.float32)
    losses = []
    for share in (1.0, 0.25):
        model = small_model()
        model.compile(keras.optimizers.SGD(0.0), kept_negatives=share)
        losses.append((model.evaluate(x, y, verbose=0), model.fit(x, y, verbose=0).history["loss"][0]))
    assert losses[0][0] == pytest.approx(losses[1][0], abs=1e-6)
    assert losses[1][1] > losses[0][1] + 0.5


@pytest.mark.parametrize("share", [0, -0.1, 1.5, float("nan")])
def test_a_share_of_negatives_is_one(share):
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        small_model().compile(kept_negatives=share)
