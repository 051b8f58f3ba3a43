from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest
from keras import ops

from dmf_keras.layers import QuadraticHead
from dmf_keras.testing import check_layer
from tests.dmf_keras.gradients import gradients
from tests.dmf_keras.layers.attention_inputs import to_numpy


def _inputs(batch=3, candidates=4, seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"user": (batch, 3), "item": (batch, candidates, 4), "pair": (batch, candidates, 2)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def _head(layers=2, **kwargs):
    """A head whose weights are all drawn, biases and statistics included."""
    head = QuadraticHead(layers, **kwargs)
    head.build((None, 3), (None, None, 4), (None, None, 2))
    rng = np.random.default_rng(1)
    for weight in head.weights:
        low = 0.5 if "variance" in weight.name else -0.4
        weight.assign(low + 0.8 * rng.random(weight.shape))
    return head


def _by_numpy(head, user, item, pair, statistics=None):
    """Logits in float64; `statistics`: of the rows of the batch that are true in it, in place of the moving ones."""
    x = np.concatenate([np.repeat(user[:, None], item.shape[1], 1), item, pair], -1).astype(float)
    for dense, norm, activation in zip(head.dense, head.norms, head.activations, strict=True):
        z = x * (x @ to_numpy(dense.kernel) + to_numpy(dense.bias))
        mean, variance = to_numpy(norm.moving_mean), to_numpy(norm.moving_variance)
        if statistics is not None:
            mean, variance = z[statistics].mean(0), z[statistics].var(0)
        z = (z - mean) / np.sqrt(variance + 1e-5) * to_numpy(norm.gamma) + to_numpy(norm.beta)
        x = np.where(z > 0, z, to_numpy(activation.alpha) * z) + x
    return (x @ to_numpy(head.logit.kernel) + to_numpy(head.logit.bias)).squeeze(-1)


@pytest.mark.parametrize("layers", [1, 3])
def test_equals_the_definition(layers):
    head, x = _head(layers), _inputs()
    np.testing.assert_allclose(to_numpy(head(**x)), _by_numpy(head, **x), atol=1e-5)


def test_in_training_the_statistics_are_of_real_candidates():
    head, x = _head(), _inputs()
    real = np.arange(4) < [[4], [2], [1]]
    moved = []
    for filler in (0.0, np.nan):
        head = _head()
        filled = x | {name: np.where(real[..., None], x[name], np.float32(filler)) for name in ("item", "pair")}
        logits = to_numpy(head(**filled, training=True, candidates_mask=real))
        np.testing.assert_allclose(logits[real], _by_numpy(head, **x, statistics=real)[real], atol=1e-3)
        moved.append(head.get_weights())
        found = gradients(
            lambda head=head, filled=filled, **a: ops.sum(
                ops.where(real, head(**(filled | a), training=True, candidates_mask=real), 0.0)
            ),
            {"item": filled["item"]},
        )["item"]
        assert np.isfinite(found).all() and not found[~real].any()
    for one, other in zip(*moved, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_other_candidates_and_order_change_nothing():
    head, x = _head(), _inputs()
    expected = to_numpy(head(**x))
    order = np.array([2, 0, 3, 1])
    changed = x | {name: np.pad(x[name][:, order], ((0, 0), (0, 3), (0, 0))) for name in ("item", "pair")}
    np.testing.assert_allclose(to_numpy(head(**changed))[:, :4], expected[:, order], atol=1e-6)


def test_the_user_part_may_be_kept():
    head, x = _head(), _inputs()
    part = head.encode_user(x["user"])
    assert tuple(part.shape) == (3, 3 + 9)
    page = head.score_items(part, x["item"][:, :2], x["pair"][:, :2])
    np.testing.assert_allclose(to_numpy(page), to_numpy(head(**x))[:, :2], atol=1e-6)


def test_several_outputs_share_the_layers():
    head, x = QuadraticHead(2, outputs=3), _inputs()
    assert tuple(head(**x).shape) == (3, 4, 3)


@pytest.mark.parametrize(("users", "pairs"), [(0, 2), (3, 0), (0, 0)])
def test_parts_that_are_not_there(users, pairs):
    x = _inputs()
    head = QuadraticHead(2)
    logits = head(x["user"][:, :users], x["item"], x["pair"] if pairs else None)
    assert np.isfinite(to_numpy(logits)).all() and tuple(logits.shape) == (3, 4)


@pytest.mark.parametrize(("batch", "candidates"), [(2, 0), (0, 3), (2, 2000)])
def test_sizes(batch, candidates):
    logits = to_numpy(_head()(**_inputs(batch, candidates)))
    assert logits.shape == (batch, candidates) and np.isfinite(logits).all()


def test_dropout_is_of_training_alone():
    head, x = _head(dropout=0.5), _inputs()
    np.testing.assert_array_equal(to_numpy(head(**x)), to_numpy(head(**x)))
    plain = to_numpy(_head()(**x, training=True))
    assert np.abs(to_numpy(head(**x, training=True)) - plain).max() > 1e-3


def test_layer_checks(tmp_path):
    make = partial(QuadraticHead, 2, 0.1, 2, keras.initializers.HeNormal(seed=1))
    check_layer(make, _inputs(), lambda layer, x: layer(**x), tmp_path)


@pytest.mark.parametrize(("changed", "message"), [
    ({"pair": None}, "`pair` must be given. Received: None"),
    ({"item": np.zeros((3, 4, 5), np.float32)}, r"`item` must have 4 in dimension 2.*\(3, 4, 5\)"),
    ({"user": np.zeros((3, 2), np.float32)}, r"`user` must have 3 in dimension 1.*\(3, 2\)"),
    ({"candidates_mask": np.ones((3, 5), bool)}, r"`candidates_mask` must have 4 in dimension 1.*\(3, 5\)"),
    ({"candidates_mask": np.ones((3, 4), np.int32)}, "`candidates_mask` must be of dtype bool"),
])  # fmt: skip
def test_refuses_inputs(changed, message):
    with pytest.raises(ValueError, match=message):
        _head()(**{**_inputs(), **changed})


def test_refuses_arguments():
    with pytest.raises(ValueError, match="Received: 0"):
        QuadraticHead(0)
    with pytest.raises(ValueError, match="Received: 2"):
        QuadraticHead(dropout=2)
