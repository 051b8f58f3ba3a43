"""One mixture of shared experts for each objective."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from dmf_keras.checks import check_axis, check_count
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.layers.MultiGateMixtureOfExperts")
class MultiGateMixtureOfExperts(keras.layers.Layer):
    """Gives each of T objectives its own mixture of E experts, which all of them share.

        f_e(x) = activation(W_e x + b_e),    g_t(x) = softmax(G_t x + c_t),    y_t = sum_e g_t(x)_e f_e(x)

    Objectives that agree learn to use the same experts, others to use different ones. Gates see the input alone, so
    samples do not see each other, and none needs a mask.

    Args:
        experts: how many, at least one.
        units: width of each expert.
        gates: objectives, at least one.
        activation: of the experts.
        kernel_initializer: of the experts; gates begin at zero, where all experts weigh the same.

    Examples:

    >>> from dmf_keras.layers import MultiGateMixtureOfExperts
    >>> layer = MultiGateMixtureOfExperts(experts=4, units=8, gates=2)
    >>> tuple(layer(np.ones((3, 5))).shape)
    (3, 2, 8)

    References:
        Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts, KDD 2018.
    """

    def __init__(
        self,
        experts: int,
        units: int,
        gates: int,
        activation: Any = "relu",
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.experts = check_count("experts", experts)
        self.units = check_count("units", units)
        self.gates = check_count("gates", gates)
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: Any) -> None:
        """Creates the weights. Each expert is initialised as the dense layer that it is."""
        width = input_shape[-1]
        self.width = width
        self.kernels = [
            self.add_weight(
                name=f"kernel_{expert}", shape=(width, self.units), initializer=self.kernel_initializer.clone()
            )
            for expert in range(self.experts)
        ]
        self.bias = self.add_weight(name="bias", shape=(self.experts * self.units,), initializer="zeros")
        gated = self.gates * self.experts
        self.gate_kernel = self.add_weight(name="gate_kernel", shape=(width, gated), initializer="zeros")
        self.gate_bias = self.add_weight(name="gate_bias", shape=(gated,), initializer="zeros")

    def call(self, inputs: Tensor) -> Tensor:
        """Mixtures [..., T, units] of `inputs` float [..., D]."""
        check_axis("inputs", inputs, len(inputs.shape) - 1, self.width, "the layer was built")
        inputs = ops.cast(inputs, self.compute_dtype)
        # As one product: experts are small, and a product each would be as many calls.
        kernel = ops.concatenate([ops.cast(kernel, self.compute_dtype) for kernel in self.kernels], axis=1)
        told = self.activation(ops.matmul(inputs, kernel) + ops.cast(self.bias, self.compute_dtype))
        leading = ops.shape(inputs)[:-1]
        told = ops.reshape(told, (*leading, self.experts, self.units))
        gates = ops.matmul(inputs, ops.cast(self.gate_kernel, self.compute_dtype))
        gates = ops.reshape(gates + ops.cast(self.gate_bias, self.compute_dtype), (*leading, self.gates, self.experts))
        # In float32 whatever the policy, as every softmax here.
        weights = ops.cast(ops.softmax(ops.cast(gates, "float32"), axis=-1), self.compute_dtype)
        return ops.matmul(weights, told)

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        """(..., T, units)."""
        return (*input_shape[:-1], self.gates, self.units)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {
            **super().get_config(),
            "experts": self.experts,
            "units": self.units,
            "gates": self.gates,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
