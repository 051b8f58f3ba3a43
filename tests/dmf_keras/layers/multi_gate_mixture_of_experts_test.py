from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest

from dmf_keras.layers import InterestHead, MultiGateMixtureOfExperts
from dmf_keras.testing import check_layer

to_numpy = keras.ops.convert_to_numpy


def _filled(layer: keras.layers.Layer) -> keras.layers.Layer:
    rng = np.random.default_rng(1)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer


def _reference(layer: MultiGateMixtureOfExperts, x: np.ndarray) -> np.ndarray:
    """Expert by expert and gate by gate, [n, T, units]."""
    bias = to_numpy(layer.bias).reshape(layer.experts, layer.units)
    told = [np.maximum(x @ to_numpy(kernel) + bias[e], 0) for e, kernel in enumerate(layer.kernels)]
    gate_kernel = to_numpy(layer.gate_kernel).reshape(x.shape[-1], layer.gates, layer.experts)
    gate_bias = to_numpy(layer.gate_bias).reshape(layer.gates, layer.experts)
    mixtures = []
    for t in range(layer.gates):
        gate = np.exp(x @ gate_kernel[:, t] + gate_bias[t])
        gate /= gate.sum(-1, keepdims=True)
        mixtures.append(sum(gate[:, e, None] * told[e] for e in range(layer.experts)))
    return np.stack(mixtures, axis=1)


@pytest.mark.parametrize(("experts", "gates"), [(1, 1), (3, 2), (2, 4)])
def test_equals_the_paper_expert_by_expert(experts, gates):
    x = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    layer = MultiGateMixtureOfExperts(experts, 6, gates)
    assert tuple(layer(x).shape) == layer.compute_output_shape((7, 5)) == (7, gates, 6)
    _filled(layer)
    np.testing.assert_allclose(to_numpy(layer(x)), _reference(layer, x), atol=1e-5)
    # Whatever the rank.
    np.testing.assert_allclose(to_numpy(layer(x[None]))[0], to_numpy(layer(x)), atol=1e-6)


def test_gates_begin_with_all_experts_alike():
    x = np.ones((1, 3), np.float32)
    layer = MultiGateMixtureOfExperts(4, 2, 2)
    mixtures = to_numpy(layer(x))
    np.testing.assert_allclose(mixtures[:, 0], mixtures[:, 1])


@pytest.mark.parametrize("values", [{"experts": 0}, {"units": 0}, {"gates": 0}, {"gates": 1.5}])
def test_invalid_arguments(values):
    with pytest.raises(ValueError, match="must be an integer of at least 1"):
        MultiGateMixtureOfExperts(**{"experts": 2, "units": 3, "gates": 2, **values})


def test_another_width_is_refused():
    layer = MultiGateMixtureOfExperts(2, 3, 2)
    layer.build((None, 4))
    with pytest.raises(ValueError, match="must have 4 in dimension 1"):
        layer(np.ones((2, 5), np.float32))


def test_every_way_of_running(tmp_path):
    x = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    check_layer(
        partial(MultiGateMixtureOfExperts, 3, 6, 2, kernel_initializer=keras.initializers.GlorotUniform(seed=1)),
        {"x": x},
        lambda layer, inputs: layer(inputs["x"]),
        tmp_path,
    )


def test_a_head_of_experts_is_its_layers_one_after_the_other():
    rng = np.random.default_rng(0)
    user, item = rng.normal(size=(2, 3)).astype(np.float32), rng.normal(size=(2, 4, 5)).astype(np.float32)
    head = InterestHead((8, 6, 4), outputs=2, experts=3)
    logits = head(user, item)
    assert tuple(logits.shape) == (2, 4, 2)
    _filled(head)
    joined = np.concatenate([np.repeat(user[:, None], 4, axis=1), item], -1).reshape(8, 8)
    hidden = np.maximum(joined @ to_numpy(head.kernel) + to_numpy(head.bias), 0)
    _, dense, _, mixture, _, last = head.tail
    hidden = np.maximum(hidden @ to_numpy(dense.kernel) + to_numpy(dense.bias), 0)
    mixtures = _reference(mixture, hidden)
    expected = np.einsum("nth,ht->nt", mixtures, to_numpy(last.kernel)) + to_numpy(last.bias)
    np.testing.assert_allclose(to_numpy(head(user, item)).reshape(8, 2), expected, rtol=1e-4, atol=1e-4)


def test_experts_need_a_layer_before_them():
    with pytest.raises(ValueError, match="need two `hidden_units`"):
        InterestHead((8,), experts=2)


@pytest.mark.parametrize(("outputs", "experts"), [(3, 0), (2, 2), (1, 2)])
def test_a_head_of_several_outputs_runs_in_every_way(outputs, experts, tmp_path):
    rng = np.random.default_rng(0)
    inputs = {
        "user": rng.normal(size=(2, 3)).astype(np.float32),
        "item": rng.normal(size=(2, 4, 5)).astype(np.float32),
    }
    make = partial(
        InterestHead,
        (6, 4),
        outputs=outputs,
        experts=experts,
        kernel_initializer=keras.initializers.GlorotUniform(seed=1),
    )
    check_layer(make, inputs, lambda head, given: head(given["user"], given["item"]), tmp_path)
