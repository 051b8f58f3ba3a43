from __future__ import annotations

import keras
import numpy as np
import pytest

from dmf_keras.layers import InfoNCE
from dmf_keras.testing import check_layer

to_numpy = keras.ops.convert_to_numpy
B, N, D = 4, 7, 5


def unit(rng, *shape):
    vectors = rng.normal(size=shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def inputs(own: bool = False):
    rng = np.random.default_rng(0)
    return {
        "anchors": unit(rng, B, D),
        "positives": unit(rng, B, D),
        "negatives": unit(rng, *((B, N, D) if own else (N, D))),
        "allowed": rng.random((B, N)) < 0.6,
        "positive_log_q": np.log(rng.random(B)).astype(np.float32),
        "negative_log_q": np.log(rng.random(N)).astype(np.float32),
    }


def made(tau, prior=0.0):
    layer = InfoNCE(tau)
    layer.build()
    layer.prior.assign(prior)
    return layer


def by_hand(x, tau, prior):
    losses = []
    for row in range(B):
        found = x["anchors"][row] @ x["positives"][row] / tau - (1 - prior) * x["positive_log_q"][row]
        others = x["negatives"] if x["negatives"].ndim == 2 else x["negatives"][row]
        scores = [
            others[n] @ x["anchors"][row] / tau - (1 - prior) * x["negative_log_q"][n]
            for n in range(N)
            if x["allowed"][row, n]
        ]
        losses.append(np.log(np.exp([found, *scores]).sum()) - found)
    return np.array(losses)


@pytest.mark.parametrize("own", [False, True], ids=["shared negatives", "negatives of each anchor"])
def test_equals_the_definition(own):
    x = inputs(own)
    for prior in (0.0, 0.3):
        np.testing.assert_allclose(to_numpy(made(0.2, prior)(**x)), by_hand(x, 0.2, prior), rtol=1e-5, atol=2e-6)


def test_without_correction_every_item_counts_alike():
    x = inputs()
    log_q = {name: x.pop(name) for name in ("positive_log_q", "negative_log_q")}
    even = x | {name: np.full_like(value, -3.0) for name, value in log_q.items()}
    np.testing.assert_allclose(to_numpy(made(0.2)(**x)), to_numpy(made(0.2)(**even)), rtol=1e-5)
    # So it is where popularity explains as much as it is drawn for, which is where learning begins.
    np.testing.assert_allclose(to_numpy(InfoNCE(0.2)(**x, **log_q)), to_numpy(made(0.2)(**x)), rtol=1e-5)


def test_what_is_often_drawn_is_pushed_away_less():
    """One negative that is as near as the positive: the more often it is drawn, the less it says."""
    x = {"anchors": np.eye(2)[:1], "positives": np.eye(2)[:1], "negatives": np.eye(2)[:1], "allowed": [[True]]}
    x = {name: np.array(value, bool if name == "allowed" else np.float32) for name, value in x.items()}
    rare, frequent = (
        float(made(0.5)(**x, positive_log_q=np.log([0.01]), negative_log_q=np.log([often]))[0]) for often in (0.01, 0.1)
    )
    assert rare == pytest.approx(np.log(2), rel=1e-5)
    assert frequent == pytest.approx(np.log(1.1), rel=1e-5)


def test_what_is_not_allowed_may_be_anything_and_without_negatives_there_is_no_loss():
    x = inputs()
    x["allowed"][1] = False
    before = to_numpy(InfoNCE(0.2)(**x))
    assert before[1] == 0 and (before[[0, 2, 3]] > 0).all()
    x["allowed"][:, 3] = False
    without = to_numpy(InfoNCE(0.2)(**x))
    x["negatives"][3] = 1e3
    np.testing.assert_array_equal(to_numpy(InfoNCE(0.2)(**x)), without)


def test_the_temperature_is_learned_within_its_bounds():
    layer, x = InfoNCE(0.2), inputs()
    layer(**x)
    weight, prior = layer.trainable_weights
    assert float(prior) == 1
    assert float(layer.scale()) == pytest.approx(5, rel=1e-5)
    for value, scale in ((-5.0, 0.1), (9.0, 100.0)):
        weight.assign(value)
        assert float(layer.scale()) == pytest.approx(scale)
        assert np.isfinite(to_numpy(layer(**x))).all()


def test_layer_checks(tmp_path):
    # A functional model gives every input a batch of its own: what all rows share is made of one here.
    def call(layer, x):
        shared = {name: x[name] for name in ("anchors", "positives", "negatives", "allowed")}
        return layer(**shared)

    x = {name: value for name, value in inputs(own=True).items() if not name.endswith("log_q")}
    check_layer(lambda **kwargs: InfoNCE(0.2, **kwargs), x, call, tmp_path)


def test_refuses():
    for temperature in (0.001, 20.0):
        with pytest.raises(ValueError, match=f"from 0.01 to 10. Received: {temperature}"):
            InfoNCE(temperature)
    x = inputs()
    with pytest.raises(ValueError, match="`allowed` must be of dtype bool"):
        InfoNCE()(**x | {"allowed": x["allowed"].astype(np.int32)})
    with pytest.raises(ValueError, match="`negatives` must have 5 in dimension -1"):
        InfoNCE()(**x | {"negatives": np.zeros((N, 6), np.float32)})
