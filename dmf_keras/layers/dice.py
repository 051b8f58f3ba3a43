"""The activation of DIN, whose rectified point follows the data."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from dmf_keras.checks import check_axis, check_fraction, check_kind
from dmf_keras.ops.masked import masked_mean, without_padding
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.layers.Dice")
class Dice(keras.layers.Layer):
    """Data adaptive activation: a PReLU whose step is smooth and lies at the mean of its input.

        y = p x + (1 - p) alpha x,    p = sigmoid((x - E[x]) / sqrt(Var[x] + epsilon))

    with one trained alpha per channel, the last axis, that starts at 0. In training E and Var are of the batch, over
    all axes but the last; in inference, and where `trainable` is false, they are moving averages. They are of the
    positions that `mask` keeps, so that padding never moves them; a batch without any leaves the averages as they are.
    Keras's own `BatchNormalization` would move them towards 0 then, and fails on a mask with one channel.

    Args:
        momentum: float in [0, 1], share of the moving averages that a step keeps.
        epsilon: float above 0, added to the variance; the default is the paper's.

    Examples:

    >>> from dmf_keras.layers import Dice
    >>> layer = Dice()
    >>> y = layer(np.array([[-100.0, 0.0, 100.0]]))  # mean 0 and variance 1 before any training
    >>> np.abs(keras.ops.convert_to_numpy(y)).tolist()
    [[0.0, 0.0, 100.0]]

    References:
        DIN, arXiv:1706.06978.
    """

    def __init__(self, momentum: float = 0.99, epsilon: float = 1e-8, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.momentum = check_fraction("momentum", momentum)
        if not isinstance(epsilon, float) or not 0 < epsilon < float("inf"):
            raise ValueError(f"`epsilon` must be a float above 0. Received: {epsilon!r}")
        self.epsilon = epsilon
        self.supports_masking = True

    def build(self, inputs_shape: Any) -> None:
        """Creates the weights."""
        channels = (inputs_shape[-1],)
        self.alpha = self.add_weight(name="alpha", shape=channels, initializer="zeros")
        # Float32 whatever the policy, and the mean over the replicas of a distributed step.
        moving: dict[str, Any] = {"shape": channels, "trainable": False, "autocast": False, "aggregation": "mean"}
        self.moving_mean = self.add_weight(name="moving_mean", initializer="zeros", dtype="float32", **moving)
        self.moving_variance = self.add_weight(name="moving_variance", initializer="ones", dtype="float32", **moving)

    def call(self, inputs: Tensor, mask: Tensor | None = None, training: bool = False) -> Tensor:
        """Activates `inputs`.

        Args:
            inputs: float [..., C].
            mask: bool [...], false for padding; absent: all positions are real. It only matters in training, where
                positions that it leaves out get values of no meaning.
            training: whether statistics are of this batch, and move the averages.

        Returns:
            [..., C] in the compute dtype; normalised in float32.

        Raises:
            ValueError: a mask that is not boolean, or of another shape than `inputs` without its last axis.
        """
        mean, variance = ops.convert_to_tensor(self.moving_mean), ops.convert_to_tensor(self.moving_variance)
        exact = ops.cast(inputs, "float32")
        if mask is not None:
            self._check_mask(inputs, mask)
        if training and self.trainable:
            if mask is not None:
                # Its gradients are sums over all positions.
                exact = without_padding(exact, mask)
            mean, variance = self._batch_statistics(exact, mask)
        gate = ops.sigmoid((exact - mean) * ops.rsqrt(variance + self.epsilon))
        alpha = ops.cast(self.alpha, "float32")
        return ops.cast(exact * (alpha + gate * (1.0 - alpha)), self.compute_dtype)

    def _check_mask(self, inputs: Tensor, mask: Tensor) -> None:
        check_kind("mask", mask, "bool")
        if len(mask.shape) != len(inputs.shape) - 1:
            raise ValueError(
                f"`mask` must have one axis less than `inputs`. Received: shape {tuple(mask.shape)} for inputs of "
                f"shape {tuple(inputs.shape)}"
            )
        for axis, size in enumerate(inputs.shape[:-1]):
            check_axis("mask", mask, axis, size, "`inputs`")

    def _batch_statistics(self, inputs: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and variance [C] of the real positions; moves the averages towards them."""
        axes = tuple(range(len(inputs.shape) - 1))
        if mask is None:
            mask = ops.ones(ops.shape(inputs)[:-1], dtype="bool")
        mean = masked_mean(inputs, mask, axes)
        variance = masked_mean(ops.square(inputs - mean), mask, axes)
        step = (1.0 - self.momentum) * ops.cast(ops.any(mask), "float32")
        for average, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign_add(step * (now - ops.convert_to_tensor(average)))
        return mean, variance

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {**super().get_config(), "momentum": self.momentum, "epsilon": self.epsilon}
