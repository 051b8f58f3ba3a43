from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest

from dmf_keras.layers import TargetAttention
from dmf_keras.testing import check_layer
from tests.dmf_keras.layers.attention_inputs import DIM, call, inputs, make, projected, textbook, to_numpy


def _parts(layer, arrays):
    keys, values = layer.encode_history(arrays["history"])
    return {
        "candidates": arrays["candidates"],
        "keys": keys,
        "values": values,
        "history_mask": arrays["history_mask"],
    }


def _built(**kwargs):
    layer = make("id_only", **kwargs)
    layer.build((None, None, 7), (None, None, 6))
    return layer


@pytest.mark.parametrize("heads", [1, 2])
def test_equals_the_equations(heads):
    arrays = inputs("id_only")
    layer = make("id_only", heads)
    interest, weights = call(layer, arrays, return_weights=True)
    query, keys, values = (
        projected(rows, dense, heads)
        for rows, dense in zip(
            (arrays["candidates"], arrays["history"], arrays["history"]),
            (layer.query, layer.key, layer.value),
            strict=True,
        )
    )
    per_pair = [np.repeat(rows[:, None], 4, axis=1) for rows in (keys, values)]
    expected, expected_weights = textbook(query, *per_pair, arrays["history_mask"])
    np.testing.assert_allclose(to_numpy(interest), expected, atol=1e-5)
    np.testing.assert_allclose(to_numpy(weights), expected_weights, atol=1e-5)
    names = [weight.path.split("/", 1)[1] for weight in layer.weights]
    assert names == ["query/kernel", "query/bias", "key/kernel", "value/kernel"]


def test_user_part_then_candidate_part_is_the_call():
    arrays = inputs("id_only")
    layer = _built(heads=2)
    whole = to_numpy(call(layer, arrays))
    parts = _parts(layer, arrays)
    assert tuple(parts["keys"].shape) == tuple(parts["values"].shape) == (3, 6, 2, 4)
    for page in (slice(0, 1), slice(1, 4)):
        part = layer.attend(**parts | {"candidates": arrays["candidates"][:, page]})
        np.testing.assert_allclose(to_numpy(part), whole[:, page], atol=1e-6)


def test_dropout_drops_weights_after_the_softmax():
    """With a value of its own per history item, the interest is what was kept of the weights."""
    layer = _built(dropout=0.25)
    arrays = {name: np.repeat(array[:1], 500, axis=0) for name, array in inputs("id_only", 1, history=DIM).items()}
    parts = _parts(layer, arrays) | {
        "values": np.broadcast_to(np.eye(DIM, dtype="float32")[:, None], (500, DIM, 1, DIM))
    }
    kept, weights = (to_numpy(x) for x in layer.attend(**parts, return_weights=True, training=True))
    weights = weights[:, 0]
    dropped = kept == 0
    np.testing.assert_allclose(kept[~dropped], weights[~dropped] / 0.75, rtol=1e-5)
    share = dropped[weights > 0].mean()
    assert 0.23 < share < 0.27  # of at least 2000 weights
    np.testing.assert_array_equal(to_numpy(layer.attend(**parts)), weights)


@pytest.mark.parametrize("heads", [1, 4])
def test_layer_checks(heads, tmp_path):
    check_layer(partial(make, "id_only", heads, dropout=0.25), inputs("id_only"), call, tmp_path)


@pytest.mark.parametrize(("changed", "message"), [
    ({"keys": np.zeros((3, 6, 8), np.float32)}, r"`keys` must have shape \(batch, history, heads.*\(3, 6, 8\)"),
    ({"values": np.zeros((3, 6, 8), np.float32)}, r"`values` must have shape.*\(3, 6, 8\)"),
    ({"keys": np.zeros((3, 6, 4, 4), np.float32)}, r"`keys` must have 2 in dimension 2.*\(3, 6, 4, 4\)"),
    ({"values": np.zeros((3, 6, 2, 8), np.float32)}, r"`values` must have 4 in dimension 3.*\(3, 6, 2, 8\)"),
    ({"values": np.zeros((3, 5, 2, 4), np.float32)}, r"`values` must have 6 in dimension 1.*\(3, 5, 2, 4\)"),
    ({"keys": np.zeros((1, 6, 2, 4), np.float32)}, r"`keys` must have 3 in dimension 0.*\(1, 6, 2, 4\)"),
    ({"keys": np.zeros((3, 6, 2, 4), np.int32)}, "`keys` must be of dtype float. Received: dtype int32"),
    ({"history_mask": np.ones((3, 5), bool)}, r"`history_mask` must have 6 in dimension 1.*\(3, 5\)"),
    ({"candidates": np.float32(1)}, r"`candidates` must have shape.*\(\)"),
])  # fmt: skip
def test_refuses_parts(changed, message):
    layer = _built(heads=2)
    with pytest.raises(ValueError, match=message):
        layer.attend(**_parts(layer, inputs("id_only")) | changed)


def test_parts_of_a_layer_that_is_not_built():
    with pytest.raises(ValueError, match="`attention` has no weights yet: call it once"):
        TargetAttention(name="attention").encode_history(np.zeros((1, 2, 3), np.float32))


def test_parts_cast_their_inputs_to_the_compute_dtype():
    layer = _built(dtype="mixed_bfloat16")
    parts = _parts(layer, inputs("id_only"))
    assert keras.backend.standardize_dtype(parts["keys"].dtype) == "bfloat16"
    expected = to_numpy(layer.attend(**parts))
    # A state that came back from a server in float32 is the same state.
    for name in ("keys", "values"):
        parts[name] = to_numpy(parts[name])
    np.testing.assert_array_equal(to_numpy(layer.attend(**parts)), expected)
