from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest

from dmf_keras.layers import InterestHead
from dmf_keras.testing import check_layer

to_numpy = keras.ops.convert_to_numpy


def _inputs(user=3, batch=2, candidates=4):
    rng = np.random.default_rng(0)
    return {
        "user": rng.normal(size=(batch, user)).astype(np.float32),
        "item": rng.normal(size=(batch, candidates, 5)).astype(np.float32),
        "pair": rng.normal(size=(batch, candidates, 2)).astype(np.float32),
    }


@pytest.mark.parametrize("hidden_units", [(6,), (6, 4), (8, 6, 4)])
@pytest.mark.parametrize("user", [0, 3])
@pytest.mark.parametrize("with_pair", [False, True])
@pytest.mark.parametrize("batch", [1, 2])
def test_equals_an_mlp_on_the_concatenation(hidden_units, user, with_pair, batch):
    inputs = _inputs(user, batch)
    if not with_pair:
        del inputs["pair"]
    head = InterestHead(hidden_units)
    head(**inputs)
    head.bias.assign(np.random.default_rng(1).normal(size=hidden_units[0]))
    logits = to_numpy(head(**inputs))
    users = np.repeat(inputs["user"][:, None], 4, axis=1)
    hidden = np.concatenate([users, inputs["item"], *([inputs["pair"]] if with_pair else [])], -1)
    assert head.kernel.shape[0] == hidden.shape[-1]
    dense = [(head.kernel, head.bias)]
    dense += [(layer.kernel, layer.bias) for layer in head.tail if isinstance(layer, keras.layers.Dense)]
    for depth, (kernel, bias) in enumerate(dense):
        hidden = hidden @ to_numpy(kernel) + to_numpy(bias)
        if depth < len(dense) - 1:
            hidden = np.maximum(hidden, 0)
    assert len(dense) == len(hidden_units) + 1
    np.testing.assert_allclose(logits, hidden[..., 0], atol=1e-5)


def test_parts_are_the_call():
    inputs = _inputs()
    head = InterestHead()
    whole = to_numpy(head(**inputs))
    parts = head.score(head.encode_user(inputs["user"]), head.encode_item(inputs["item"]), inputs["pair"])
    np.testing.assert_allclose(to_numpy(parts), whole, atol=1e-6)


def test_candidates_are_independent():
    inputs = _inputs()
    head = InterestHead((6, 4))
    whole = to_numpy(head(**inputs))
    order = np.array([3, 1])
    part = to_numpy(head(inputs["user"], inputs["item"][:, order], inputs["pair"][:, order]))
    np.testing.assert_allclose(part, whole[:, order], atol=1e-6)


def test_dropout_only_in_training():
    inputs = _inputs()
    head = InterestHead((64, 32), dropout=0.5)
    whole = to_numpy(head(**inputs))
    np.testing.assert_array_equal(to_numpy(head(**inputs)), whole)
    assert not np.allclose(to_numpy(head(**inputs, training=True)), whole)


def test_logits_are_float32_under_mixed_precision():
    assert keras.backend.standardize_dtype(InterestHead(dtype="mixed_bfloat16")(**_inputs()).dtype) == "float32"


@pytest.mark.parametrize("names", [("user", "item", "pair"), ("user", "item")])
def test_layer_checks(names, tmp_path):
    inputs = {name: _inputs()[name] for name in names}
    check_layer(partial(InterestHead, (6, 4), "tanh", 0.1), inputs, lambda layer, x: layer(**x), tmp_path)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"hidden_units": ()}, r"at least one layer. Received: \(\)"),
    ({"hidden_units": (8, -2)}, "Received: -2"),
    ({"dropout": 2}, "Received: 2"),
])  # fmt: skip
def test_refuses_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        InterestHead(**arguments)


def test_refuses_another_width_than_it_was_built_for():
    head = InterestHead()
    head(**_inputs())
    with pytest.raises(
        ValueError, match=r"`item` must have 5 in dimension 2, as the head was built. Received: shape \(2, 4, 6\)"
    ):
        head.encode_item(np.zeros((2, 4, 6), np.float32))


def test_refuses_a_pair_part_that_it_was_not_built_for():
    inputs = _inputs()
    head = InterestHead()
    head(**inputs)
    with pytest.raises(ValueError, match=r"`pair` must have shape \(batch, candidates, 2\). Received: None"):
        head.score(head.encode_user(inputs["user"]), head.encode_item(inputs["item"]))
    alone = InterestHead()
    alone.build((None, 3), (None, None, 5))
    with pytest.raises(ValueError, match=r"`pair` must be None, as the head was built without. Received: \(2, 4, 2\)"):
        alone(**inputs)
