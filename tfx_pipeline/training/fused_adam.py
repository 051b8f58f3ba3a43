"""Adam, whose update of a variable is one operation and one pass over memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


class FusedAdam(keras.optimizers.Adam):
    """Keras's Adam with TensorFlow's kernel for it: the same updates, in float32 up to the order of roundings.

    Keras's own has a dozen operations for each variable, 300 or more a step of a ranking model, most of them of a few
    numbers, and those of an embedding pass a dozen times over the whole table.

    Of a row that a batch looks up n times, the gradient is the sum of n parts. Its square is that of the sum here, as
    in Adam's paper, TensorFlow's earlier optimizers and PyTorch. Keras 3 sums the squares of the parts, as long as
    nothing else, such as a penalty, makes the gradient dense: the steps of frequent rows are then up to sqrt(n) times
    as long.

    A model that is saved with it is saved with Keras's Adam and the same state: who loads it needs nothing of this
    package.

    Args:
        learning_rate: as of `keras.optimizers.Adam`, whose other arguments are defaults.
        **kwargs: of `keras.optimizers.Adam`; AMSGrad has no such kernel.

    Raises:
        ValueError: `amsgrad`.
    """

    def __init__(self, learning_rate: Any = 0.001, name: str = "adam", **kwargs: Any) -> None:
        super().__init__(learning_rate, name=name, **kwargs)
        if self.amsgrad:
            raise ValueError("`amsgrad` must be False: there is no fused update with it. Received: True")
        self._powers: dict[str, tf.Tensor] = {}

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Updates variables by their gradients; see the base class."""
        # Once a step, and not for each variable.
        step = tf.cast(self.iterations.value + 1, tf.float32)
        self._powers = {"beta1_power": tf.pow(self.beta_1, step), "beta2_power": tf.pow(self.beta_2, step)}
        super().apply(grads, trainable_variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates one variable and its moments in place."""
        place = self._get_variable_index(variable)
        variable = variable.value if isinstance(variable, keras.Variable) else variable
        kind = variable.dtype
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[place].value.handle,
            v=self._velocities[place].value.handle,
            lr=tf.cast(learning_rate, kind),
            beta1=tf.cast(self.beta_1, kind),
            beta2=tf.cast(self.beta_2, kind),
            epsilon=tf.cast(self.epsilon, kind),
            # Of an embedding, rows that were looked up; the moments of the others go on too.
            grad=tf.cast(tf.convert_to_tensor(gradient), kind),
            **{name: tf.cast(power, kind) for name, power in self._powers.items()},
        )


# What Keras writes of the class of an object.
FusedAdam.__module__, FusedAdam.__name__ = "keras.optimizers", "Adam"
