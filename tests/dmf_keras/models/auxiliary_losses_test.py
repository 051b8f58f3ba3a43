"""Auxiliary losses: their values, that they reach gradients and logs, and that serving knows nothing of them."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import ops

from dmf_keras.models import ObjectiveSpec
from dmf_keras.models.auxiliary_losses import AuxiliaryLoss, mean_of_candidates
from dmf_keras.models.inputs import CANDIDATE_INDEX
from dmf_keras.models.target_attention import TargetAttentionConfig
from dmf_keras.models.target_attention.model import IDTargetAttention
from tests.dmf_keras.models.batches import SCHEMA, requests

to_numpy = keras.ops.convert_to_numpy
CONFIG = TargetAttentionConfig(id_dim=4, attention_dim=4, hidden_units=(4,))


@keras.saving.register_keras_serializable(package="tests")
class Noting(IDTargetAttention):
    """Adds a hinge, aware of labels, to the loss of target attention, and a term that looks at keys alone."""

    hinge_weight = 0.5

    def encode_user(self, inputs, training=False):
        state = super().encode_user(inputs, training)
        if training:
            self.note(keys=state["keys"])
        return state

    def score(self, state, inputs, training=False):
        logits = super().score(state, inputs, training)
        if training:
            self.note(logits=logits)
        return logits

    def auxiliary_losses(self):
        return {
            "hinge": AuxiliaryLoss(self.hinge_weight, _hinge),
            "keys": AuxiliaryLoss(0.25, lambda noted, *_: ops.mean(ops.square(noted["keys"]))),
            "absent": AuxiliaryLoss(0.0, _refuse),
        }


def _hinge(noted, inputs, labels, weights):
    assert tuple(inputs[CANDIDATE_INDEX].shape) == tuple(weights.shape)
    first, logits = (x if len(x.shape) == 2 else x[..., 0] for x in (labels, noted["logits"]))
    return mean_of_candidates(ops.relu(1.0 - (2.0 * first - 1.0) * logits), weights)


def _refuse(*_):
    raise AssertionError("a term of weight 0 was computed")


def _batch(objectives=0):
    """Inputs, labels with NaN on padding, and weights of four requests with two padded candidates each."""
    x = requests(4, 5, 6)
    x["candidate_index"][:, 3:] = 0
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, (4, 5, objectives) if objectives else (4, 5)).astype(np.float32)
    y[:, 3:] = np.nan
    return x, y, rng.uniform(0.5, 2, (4, 5)).astype(np.float32)


def _model(schema=SCHEMA, seed=0, **options):
    keras.utils.set_random_seed(seed)
    model = Noting(schema, CONFIG)
    model.compile(keras.optimizers.SGD(0.0), **options)
    return model


def _expected_hinge(logits, y, weights):
    margins = np.maximum(0, 1 - (2 * y - 1) * logits)[:, :3]
    return np.average(margins, weights=weights[:, :3])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("objectives", [0, 2])
@pytest.mark.parametrize("eager", [True, False])
def test_terms_equal_those_of_numpy_and_are_in_the_loss_of_training_alone(weighted, objectives, eager):
    schema = replace(SCHEMA, objectives=(ObjectiveSpec("click"), ObjectiveSpec("buy", given="click"))[:objectives])
    model = _model(schema, run_eagerly=eager)
    x, y, weights = _batch(objectives)
    given = weights if weighted else None
    state = {name: to_numpy(tensor) for name, tensor in model.encode_user(x).items()}
    logits = to_numpy(model(x))
    first = (logits[..., 0], y[..., 0]) if objectives else (logits, y)
    hinge = _expected_hinge(*first, weights if weighted else np.ones_like(weights))
    keys = np.mean(np.square(state["keys"]))

    plain = model.evaluate(x, y, sample_weight=given, verbose=0, return_dict=True, batch_size=4)
    assert sorted(plain) == ["loss"]
    history = model.fit(
        x, y, sample_weight=given, validation_data=(x, y, given), verbose=0, epochs=2, batch_size=4
    ).history
    assert sorted(history) == ["loss", "loss/hinge", "loss/keys", "val_loss"]
    assert history["loss/hinge"][-1] == pytest.approx(hinge, rel=1e-5)
    assert history["loss/keys"][-1] == pytest.approx(keys, rel=1e-5)
    assert history["loss"][-1] == pytest.approx(plain["loss"] + 0.5 * hinge + 0.25 * keys, rel=1e-5)
    assert history["val_loss"][-1] == pytest.approx(plain["loss"], rel=1e-6)


def test_correction_of_kept_negatives_leaves_terms_as_they_are():
    x, y, weights = _batch()
    plain, corrected = (
        _model(kept_negatives=share).fit(x, y, sample_weight=weights, verbose=0, batch_size=4).history
        for share in (1.0, 0.5)
    )
    assert corrected["loss/hinge"] == pytest.approx(plain["loss/hinge"], rel=1e-6)
    assert corrected["loss"] != pytest.approx(plain["loss"], rel=1e-3)


def test_gradients_reach_what_was_noted():
    """With no loss of labels, the terms alone move keys; SGD's step is the gradient."""

    def nothing(y_true, y_pred):
        return 0.0 * ops.sum(y_pred, axis=-1)

    model = _model()
    model.compile(keras.optimizers.SGD(1.0), loss=nothing)
    before = {w.path: to_numpy(w).copy() for w in model.trainable_variables}
    x, y, weights = _batch()
    model.fit(x, y, sample_weight=weights, verbose=0, batch_size=4)
    after = {w.path: to_numpy(w) for w in model.trainable_variables}
    assert all(np.isfinite(values).all() for values in after.values())
    moved = {path for path in before if np.abs(after[path] - before[path]).max() > 1e-7}
    assert any("/key/" in path for path in moved), sorted(before)
    assert any("head" in path for path in moved)


def test_mean_over_an_epoch_counts_requests():
    x, y, _ = _batch()
    model = _model()
    logits = to_numpy(model(x))
    of_batches = [_expected_hinge(logits[part], y[part], np.ones((4, 5))[part]) for part in (slice(3), slice(3, 4))]
    history = model.fit(x, y, verbose=0, batch_size=3, shuffle=False).history
    assert history["loss/hinge"][0] == pytest.approx(np.average(of_batches, weights=[3, 1]), rel=1e-5)


def test_saved_model_has_its_terms_again(tmp_path):
    model = _model()
    x, y, weights = _batch()
    expected = model.fit(x, y, sample_weight=weights, verbose=0, batch_size=4).history
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    found = loaded.fit(x, y, sample_weight=weights, verbose=0, batch_size=4).history
    assert {name: values[0] for name, values in found.items()} == pytest.approx(
        {name: values[0] for name, values in expected.items()}
    )


def test_a_model_without_terms_reports_none_and_computes_none():
    keras.utils.set_random_seed(0)
    model = IDTargetAttention(SCHEMA, CONFIG)
    model.compile("adam")
    x, y, _ = _batch()
    assert list(model.fit(x, y, verbose=0).history) == ["loss"]
    assert [metric.name for metric in model.metrics] == ["loss"]


def test_serving_has_no_trace_of_them(monkeypatch):
    model, x = _model(), _batch()[0]
    monkeypatch.setattr(Noting, "note", _refuse)
    model(x)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        plain = IDTargetAttention(SCHEMA, CONFIG)
        of_noting, of_plain = (
            [op.type for op in tf.function(each.call).get_concrete_function(x).graph.get_operations()]
            for each in (model, plain)
        )
        assert of_noting == of_plain


def test_what_was_not_noted_is_named():
    class Silent(Noting):
        def score(self, state, inputs, training=False):
            return IDTargetAttention.score(self, state, inputs, training)

    model = Silent(SCHEMA, CONFIG)
    model.compile("adam", run_eagerly=True)
    with pytest.raises(KeyError, match=r"nothing was noted as 'logits' in this step, but keys: call self.note"):
        model.fit(*_batch()[:2], verbose=0)


def test_a_term_must_be_a_scalar():
    class Wide(Noting):
        def auxiliary_losses(self):
            return {"wide": AuxiliaryLoss(1.0, lambda noted, *_: noted["logits"])}

    model = Wide(SCHEMA, CONFIG)
    model.compile("adam", run_eagerly=True)
    with pytest.raises(ValueError, match=r"auxiliary loss 'wide' must be a scalar. Received: shape \(4, 5\)"):
        model.fit(*_batch()[:2], verbose=0)


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf"), "1"])
def test_weight_must_be_a_weight(weight):
    with pytest.raises(ValueError, match=r"must be finite and not below 0. Received: "):
        AuxiliaryLoss(weight, _hinge)


def test_mean_of_no_candidates_is_0_and_padding_may_be_nan():
    assert float(mean_of_candidates(ops.ones((2, 3)), ops.zeros((2, 3)))) == 0
    values = ops.convert_to_tensor([[1.0, float("nan")], [4.0, 2.0]])
    weights = ops.convert_to_tensor([[2.0, 0.0], [1.0, 1.0]])
    assert float(mean_of_candidates(values, weights)) == pytest.approx(2.0)
