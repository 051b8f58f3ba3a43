from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest
from keras import ops

from dmf_keras.layers import SemanticTargetAttention, TargetAttention
from dmf_keras.testing import check_layer
from tests.dmf_keras.gradients import gradients
from tests.dmf_keras.layers.attention_inputs import DIM, inputs, projected, to_numpy

MODALITIES = ["text", "image"]


def _inputs(batch=3, candidates=4, history=6, seed=0):
    arrays = inputs("id_only", batch, candidates, history, seed=seed)
    rng = np.random.default_rng(seed)
    cosines = {name: rng.uniform(-1, 1, (batch, candidates, history)).astype(np.float32) for name in MODALITIES}
    return arrays | cosines


def _layer(heads=2, **kwargs):
    """A layer whose gains differ."""
    layer = SemanticTargetAttention(DIM, heads, MODALITIES, **kwargs)
    layer.build((None, None, 7), (None, None, 6))
    rng = np.random.default_rng(1)
    for gain in (layer.product_gain, layer.cosine_gain, layer.joint_gain):
        gain.assign(rng.normal(1, 0.3, gain.shape))
    return layer


def _call(layer, x, **kwargs):
    cosines = [x[name] for name in MODALITIES]
    return layer(x["candidates"], x["history"], cosines, x["history_mask"], **kwargs)


@pytest.mark.parametrize("heads", [1, 2])
def test_equals_the_definition(heads):
    """One pair at a time."""
    layer, x = _layer(heads), _inputs()
    query, keys, values = (
        projected(x[of], dense, heads)
        for of, dense in (("candidates", layer.query), ("history", layer.key), ("history", layer.value))
    )
    gains = [to_numpy(gain) for gain in (layer.product_gain, layer.cosine_gain, layer.joint_gain)]
    interest, weights = _call(layer, x, return_weights=True)
    for b, n, h in np.ndindex(3, 4, heads):
        kept, logits = np.flatnonzero(x["history_mask"][b]), []
        for j in kept:
            s = query[b, n, h] @ keys[b, j, h] / np.sqrt(DIM / heads)
            r = [x[name][b, n, j] / 0.1 for name in MODALITIES]
            logits.append(gains[0][h] * s + sum(gains[1][m, h] * r[m] + gains[2][m, h] * s * r[m] for m in range(2)))
        expected = np.zeros(6)
        if kept.size:
            exponents = np.exp(np.array(logits) - max(logits))
            expected[kept] = exponents / exponents.sum()
        np.testing.assert_allclose(to_numpy(weights)[b, h, n], expected, atol=1e-5)
        of_head = to_numpy(interest)[b, n].reshape(heads, -1)[h]
        np.testing.assert_allclose(of_head, expected @ values[b, :, h], atol=1e-5)
    assert not to_numpy(interest)[-1].any(), "an empty history has no interest"


def test_without_content_it_is_target_attention():
    layer, x = _layer(), _inputs()
    layer.product_gain.assign([1, 1])
    plain = TargetAttention(DIM, 2)
    plain.build((None, None, 7), (None, None, 6))
    for name in ("query", "key", "value"):
        getattr(plain, name).set_weights(getattr(layer, name).get_weights())
    no_content = x | {name: np.zeros_like(x[name]) for name in MODALITIES}
    expected = plain(x["candidates"], x["history"], x["history_mask"])
    np.testing.assert_allclose(to_numpy(_call(layer, no_content)), to_numpy(expected), atol=1e-5)


@pytest.mark.parametrize("filler", [np.nan, np.inf, 1e38])
def test_padding_is_not_looked_at(filler):
    layer, x = _layer(), _inputs()
    mask = x["history_mask"]
    filled = x | {"history": np.where(mask[..., None], x["history"], np.float32(filler))}
    filled |= {name: np.where(mask[:, None], x[name], np.float32(filler)) for name in MODALITIES}
    np.testing.assert_allclose(to_numpy(_call(layer, filled)), to_numpy(_call(layer, x)), atol=1e-6)

    def loss(**arrays):
        return ops.sum(_call(layer, x | arrays) ** 2)

    names = ("candidates", "history", *MODALITIES)
    both = [gradients(loss, {name: arrays[name] for name in names}) for arrays in (filled, x)]
    for name in names:
        np.testing.assert_allclose(both[0][name], both[1][name], atol=1e-4)
        assert np.abs(both[1][name]).max() > 1e-4


def test_order_padding_and_other_candidates_change_nothing():
    layer, x = _layer(), _inputs()
    expected = to_numpy(_call(layer, x))
    rng = np.random.default_rng(3)
    order, items = rng.permutation(4), rng.permutation(6)
    changed = {
        "candidates": np.pad(x["candidates"][:, order], ((0, 0), (0, 2), (0, 0))),
        "history": np.pad(x["history"][:, items], ((0, 0), (1, 2), (0, 0))),
        "history_mask": np.pad(x["history_mask"][:, items], ((0, 0), (1, 2))),
    }
    changed |= {name: np.pad(x[name][:, order][:, :, items], ((0, 0), (0, 2), (1, 2))) for name in MODALITIES}
    np.testing.assert_allclose(to_numpy(_call(layer, changed))[:, :4], expected[:, order], atol=1e-5)


def test_parts_are_the_call():
    layer, x = _layer(), _inputs()
    keys, values = layer.encode_history(x["history"], x["history_mask"])
    page = [x[name][:, :2] for name in MODALITIES]
    part = layer.attend(x["candidates"][:, :2], keys, values, page, x["history_mask"])
    np.testing.assert_allclose(to_numpy(part), to_numpy(_call(layer, x))[:, :2], atol=1e-6)


@pytest.mark.parametrize(("batch", "candidates", "history"), [(2, 3, 0), (2, 0, 4), (0, 3, 4), (2, 2000, 1)])
def test_sizes(batch, candidates, history):
    x = {name: array[:batch] for name, array in _inputs(2, max(candidates, 1), max(history, 1)).items()}
    x = {name: array[:, :history] if name.startswith("history") else array for name, array in x.items()}
    x["candidates"] = x["candidates"][:, :candidates]
    x |= {name: x[name][:, :candidates, :history] for name in MODALITIES}
    interest = to_numpy(_call(_layer(), x))
    assert interest.shape == (batch, candidates, DIM) and np.isfinite(interest).all()


def test_dropout_is_of_training_alone():
    layer, x = _layer(dropout=0.5), _inputs()
    np.testing.assert_array_equal(to_numpy(_call(layer, x)), to_numpy(_call(layer, x)))
    assert np.abs(to_numpy(_call(layer, x, training=True)) - to_numpy(_call(layer, x))).max() > 1e-4


def test_layer_checks(tmp_path):
    make = partial(SemanticTargetAttention, DIM, 2, MODALITIES, 0.2, 0.1, keras.initializers.HeNormal(seed=1))
    x = _inputs()
    # The widths of cosines are lengths, which may vary: as look-ups of two tables.
    arrays = {name: x[name] for name in ("candidates", "history", "history_mask")}
    arrays |= {name: (x[name] * 9).astype(np.int32) for name in MODALITIES}

    def call(layer, given):
        cosines = {name: ops.cast(given[name], "float32") / 9 for name in MODALITIES}
        return _call(layer, {**given, **cosines})

    check_layer(make, arrays, call, tmp_path)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"temperature": 0}, "`temperature` must be a number above 0. Received: 0"),
    ({"modalities": []}, r"must name at least one.*Received: \[\]"),
    ({"heads": 3}, "must be a multiple of `heads`"),
])  # fmt: skip
def test_refuses_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        SemanticTargetAttention(**{"dim": DIM, **arguments})


@pytest.mark.parametrize(("cosines", "message"), [
    ([np.zeros((3, 4, 6), np.float32)], r"one tensor per modality \(text, image\). Received: 1"),
    (np.zeros((2, 3, 4, 6), np.float32), "one tensor per modality .* Received: "),
    ([np.zeros((3, 4, 6), np.int32)] * 2, "`cosines of text` must be of dtype float"),
    ([np.zeros((3, 4, 5), np.float32)] * 2, r"as the length of the history. Received: shape \(3, 4, 5\)"),
])  # fmt: skip
def test_refuses_inputs(cosines, message):
    x = _inputs()
    with pytest.raises(ValueError, match=message):
        _layer()(x["candidates"], x["history"], cosines, x["history_mask"])
