"""What `qin` computes; `every_model_test` has what holds for all models, `parity_test` what the original has."""

from __future__ import annotations

import numpy as np
import pytest

from dmf_keras.models import model_config
from tests.dmf_keras.models.batches import requests
from tests.dmf_keras.models.by_numpy import dense, joined, to_numpy, user_features, weighted_model


def _logit(model, read):
    """The quadratic layers by the moving statistics that a new model has: mean 0, variance 1."""
    for layer, norm, activation in zip(model.head.dense, model.head.norms, model.head.activations, strict=True):
        z = read * dense(layer, read) / np.sqrt(1 + 1e-5) * to_numpy(norm.gamma) + to_numpy(norm.beta)
        read = np.where(z > 0, z, to_numpy(activation.alpha) * z) + read
    return dense(model.head.logit, read)[0]


def _pair(model, x, b, n):
    """x_n and o_n."""
    kept = np.flatnonzero(x["history_index"][b])
    x_n = joined(model, x["candidate_index"][b, n], x["candidate_content_row"][b, n])
    x_h = joined(model, x["history_index"][b, kept], x["history_content_row"][b, kept])
    attention = model.attention
    weights = np.maximum(dense(attention.key, x_h) @ dense(attention.query, x_n) / np.sqrt(8), 0)
    return x_n, dense(attention.output_projection, weights @ dense(attention.value, x_h))


def test_equals_the_equations():
    """One pair at a time, from the weights alone."""
    model, x = weighted_model("qin", 0.3), requests(3, 4, 5)
    scores = to_numpy(model(x))
    for b, n in np.ndindex(3, 4):
        x_n, interest = _pair(model, x, b, n)
        read = np.concatenate([user_features(model, x, b), x_n, interest + x_n])
        assert scores[b, n] == pytest.approx(_logit(model, read), rel=1e-4, abs=1e-4)


def test_parts_of_the_logit_are_neutral_in_both_places():
    """The candidate stands in the head twice: without the item both are gone, without the history neither."""
    model, x = weighted_model("qin", 0.3), requests(2, 3, 4)
    told = {name: to_numpy(value) for name, value in model.explain(model.encode_user(x), x).items()}
    for n in range(3):
        user, (x_n, interest) = user_features(model, x, 0), _pair(model, x, 0, n)
        nothing = np.zeros_like(x_n)
        expected = {
            "without_item": [user, nothing, interest],
            "without_history": [user, x_n, x_n],
            "base_logit": [0 * user, nothing, nothing],
        }
        for name, read in expected.items():
            assert told[name][0, n] == pytest.approx(_logit(model, np.concatenate(read)), rel=1e-4, abs=1e-4), name


def test_padded_candidates_do_not_move_statistics():
    model, other = weighted_model("qin", 0.3), weighted_model("qin", 0.3)
    x = requests(4, 3, 5)
    padded = {key: np.pad(v, ((0, 0), (0, 2))) if key.startswith("candidate") else v for key, v in x.items()}
    model(x, training=True)
    other(padded, training=True)
    for one, two in zip(model.head.norms, other.head.norms, strict=True):
        np.testing.assert_allclose(to_numpy(one.moving_mean), to_numpy(two.moving_mean), atol=1e-5)
        np.testing.assert_allclose(to_numpy(one.moving_variance), to_numpy(two.moving_variance), atol=1e-5)
        assert np.abs(to_numpy(one.moving_mean)).max() > 1e-4


@pytest.mark.parametrize(("params", "message"), [
    ({"hidden_units": [8]}, "model 'qin' has no parameter 'hidden_units'"),
    ({"quadratic_layers": 0}, "quadratic_layers must be an integer of at least 1, got 0"),
    ({"content_dim": 0}, "content_dim must be an integer of at least 1, got 0"),
])  # fmt: skip
def test_refuses(params, message):
    with pytest.raises(ValueError, match=message):
        model_config("qin", params)
