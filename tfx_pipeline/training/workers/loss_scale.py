"""The scale of the loss in float16, where the processes of a training must agree on every step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


class AgreedLossScale(keras.optimizers.LossScaleOptimizer):
    """Keras's loss scaling, whose step is left out where the gradients of any process overflow.

    Keras looks at a replica's own gradients, before they are added up. A process in which they overflow would leave the
    step out, and the others would wait for its part of the sum for ever. It is saved as Keras's own.

    Args:
        inner_optimizer: what makes the steps.
    """

    def __init__(self, inner_optimizer: keras.optimizers.Optimizer, **kwargs: Any) -> None:
        super().__init__(inner_optimizer, **{"name": "loss_scale_optimizer", **kwargs})

    def check_finite(self, grads: Sequence[Any]) -> tf.Tensor:
        """Whether the gradients are finite in all replicas."""
        overflows = tf.cast(tf.logical_not(super().check_finite(grads)), tf.float32)
        return tf.equal(tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, overflows), 0)


# What Keras writes of the class of an object.
AgreedLossScale.__module__, AgreedLossScale.__name__ = "keras.optimizers", "LossScaleOptimizer"
