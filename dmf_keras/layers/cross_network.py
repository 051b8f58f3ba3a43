"""Products of features, of bounded degree, one vector of weights per layer."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from dmf_keras.checks import check_axis, check_count
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.layers.CrossNetwork")
class CrossNetwork(keras.layers.Layer):
    """The cross network of DCN, in its first form.

        x_k+1 = x_0 (w_k . x_k) + b_k + x_k

    Each layer raises the degree of the polynomial in x_0 by one, for 2 D weights. Keras RS has the later form with
    matrices (`keras_rs.layers.FeatureCross`), D times as costly.

    Args:
        layers: int, K.
        kernel_initializer: of w; b starts at zero.

    Examples:

    >>> from dmf_keras.layers import CrossNetwork
    >>> tuple(CrossNetwork(layers=2)(np.ones((3, 5, 8), "float32")).shape)
    (3, 5, 8)

    References:
        Deep & Cross Network, arXiv:1708.05123.
    """

    def __init__(self, layers: int = 3, kernel_initializer: Any = "glorot_uniform", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.layers = check_count("layers", layers)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, inputs_shape: Any) -> None:
        """Creates the weights."""
        self.width = inputs_shape[-1]
        drawn = [self.kernel_initializer.clone() for _ in range(self.layers)]
        self.kernels = [
            self.add_weight(name=f"kernel_{k}", shape=(self.width, 1), initializer=each) for k, each in enumerate(drawn)
        ]
        self.biases = [
            self.add_weight(name=f"bias_{k}", shape=(self.width,), initializer="zeros") for k in range(self.layers)
        ]

    def call(self, inputs: Tensor) -> Tensor:
        """x_K.

        Args:
            inputs: float [..., D], x_0.

        Returns:
            [..., D] in the compute dtype.

        Raises:
            ValueError: a width that is not that of `build`.
        """
        check_axis("inputs", inputs, len(inputs.shape) - 1, self.width, "the layer was built")
        dtype = self.compute_dtype
        first = crossed = ops.cast(inputs, dtype)
        for kernel, bias in zip(self.kernels, self.biases, strict=True):
            crossed = first * ops.matmul(crossed, ops.cast(kernel, dtype)) + ops.cast(bias, dtype) + crossed
        return crossed

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {
            **super().get_config(),
            "layers": self.layers,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
