"""Adam, whose update of a variable is one operation, over all of it or over the rows that a batch looks up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf


def take_penalties(model: keras.Model) -> dict[str, float]:
    """Takes the L2 penalties off a model's embeddings, for `FusedAdam` to pay: by path of the table.

    Of a layer that is not built yet the penalty stays in the loss.
    """
    penalties = {}
    for layer in model._flatten_layers():
        table = layer.embeddings if isinstance(layer, keras.layers.Embedding) and layer.built else None
        if table is not None and isinstance(table.regularizer, keras.regularizers.L2):
            penalties[table.path] = float(table.regularizer.l2)
            table.regularizer = None
    return penalties


class FusedAdam(keras.optimizers.Adam):
    """Keras's Adam with TensorFlow's kernel for it: the same updates, in float32 up to the order of roundings.

    Keras's own has a dozen operations for each variable, 300 or more a step of a ranking model, most of them of a few
    numbers, and those of an embedding pass a dozen times over the whole table.

    Of a row that a batch looks up n times, the gradient is the sum of n parts. Its square is that of the sum here, as
    in Adam's paper, TensorFlow's earlier optimizers and PyTorch. Keras 3 sums the squares of the parts, as long as
    nothing else, such as a penalty, makes the gradient dense: the steps of frequent rows are then up to sqrt(n) times
    as long.

    With `rows` this is Adam for tables that are too large to be passed over in each step: weights and moments of the
    rows that a batch looks up are updated, and all others stand still. Adam itself goes on moving a row by its moments
    after the last batch that had it. A penalty l2 |w|^2 has a gradient for every row in every step; with `rows` a row
    pays when it is looked up, for all steps k since it was the last time,

        g + 2 l2 k w

    the rare row seldom and much. Adam divides a gradient by its size, so one large payment shrinks a row less than k
    small ones. A killed training begins to count anew.

    A model that is saved with it is saved with Keras's Adam and the same state: who loads it needs nothing of this
    package.

    Args:
        learning_rate: as of `keras.optimizers.Adam`, whose other arguments are defaults.
        rows: whether only rows that are looked up are updated.
        penalties: with `rows`, l2 by path of the table.
        **kwargs: of `keras.optimizers.Adam`; AMSGrad has no such kernel.

    Raises:
        ValueError: `amsgrad`.

    References:
        `LazyAdam` of TensorFlow Addons, `SparseAdam` of PyTorch; Carpenter, Lazy Sparse Stochastic Gradient Descent for
        Regularized Multinomial Logistic Regression, 2008, for penalties that are paid later.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rows: bool = False,
        penalties: Mapping[str, float] | None = None,
        name: str = "adam",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, name=name, **kwargs)
        if self.amsgrad:
            raise ValueError("`amsgrad` must be False: there is no fused update with it. Received: True")
        self._rows, self._by_path = rows, dict(penalties or {})
        self._penalties: dict[int, float] = {}
        # Of each table with a penalty, the steps that were done when each row was updated.
        self._paid: dict[int, tf.Variable] = {}
        self._powers: dict[str, tf.Tensor] = {}

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Makes the state of the variables that are trained."""
        if self.built:
            return
        super().build(variables)
        for place, variable in enumerate(variables):
            if penalty := self._by_path.get(variable.path):
                self._penalties[place] = penalty
                done = tf.fill([variable.shape[0]], tf.cast(self.iterations.value, tf.float32))
                self._paid[place] = tf.Variable(done, trainable=False)

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Takes the state of another process, whose rows have paid by then."""
        super().load_own_variables(store)
        for paid in self._paid.values():
            paid.assign(tf.fill(paid.shape, tf.cast(self.iterations.value, tf.float32)))

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
        state = {
            "var": variable.handle,
            "m": self._momentums[place].value.handle,
            "v": self._velocities[place].value.handle,
        }
        numbers = {"lr": learning_rate, "beta1": self.beta_1, "beta2": self.beta_2, "epsilon": self.epsilon}
        numbers = {name: tf.cast(value, kind) for name, value in {**numbers, **self._powers}.items()}
        if self._rows and isinstance(gradient, tf.IndexedSlices):
            self._update_rows(gradient, place, state, numbers)
            return
        # Of rows, too: the moments of the others go on.
        gradient = tf.cast(tf.convert_to_tensor(gradient), kind)
        if place in self._penalties:
            gradient += 2 * self._penalties[place] * variable
        tf.raw_ops.ResourceApplyAdam(**state, **numbers, grad=gradient)

    def _update_rows(
        self, gradient: tf.IndexedSlices, place: int, state: Mapping[str, tf.Tensor], numbers: Mapping[str, tf.Tensor]
    ) -> None:
        kind = numbers["lr"].dtype
        rows, places = tf.unique(gradient.indices)

        def read(handle: tf.Tensor) -> tf.Tensor:
            return tf.raw_ops.ResourceGather(resource=handle, indices=rows, dtype=kind)

        def write(handle: tf.Tensor, values: tf.Tensor) -> None:
            tf.raw_ops.ResourceScatterUpdate(resource=handle, indices=rows, updates=values)

        weights, momentum, velocity = (read(handle) for handle in state.values())
        found = tf.math.unsorted_segment_sum(tf.cast(gradient.values, kind), places, tf.size(rows))
        if place in self._penalties:
            paid, done = self._paid[place].handle, tf.cast(self.iterations.value + 1, tf.float32)
            steps = done - tf.raw_ops.ResourceGather(resource=paid, indices=rows, dtype=tf.float32)
            found += 2 * self._penalties[place] * tf.cast(steps, kind)[:, tf.newaxis] * weights
            write(paid, tf.fill(tf.shape(rows), done))
        momentum += (found - momentum) * (1 - numbers["beta1"])
        velocity += (tf.square(found) - velocity) * (1 - numbers["beta2"])
        rate = numbers["lr"] * tf.sqrt(1 - numbers["beta2_power"]) / (1 - numbers["beta1_power"])
        weights -= rate * momentum / (tf.sqrt(velocity) + numbers["epsilon"])
        for handle, values in zip(state.values(), (weights, momentum, velocity), strict=True):
            write(handle, values)


# What Keras writes of the class of an object.
FusedAdam.__module__, FusedAdam.__name__ = "keras.optimizers", "Adam"
