"""Adam, whose update of a variable is one operation, over all of it or over the rows that a batch looks up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from dmf_keras.layers import IdEmbedding
from tfx_pipeline.training.idle_rows import AdamNumbers, Rows, after_idle_steps

# Rows of a table that `settle` takes at a time.
_SETTLED_AT_ONCE = 100_000


def take_tables(model: keras.Model) -> dict[str, float]:
    """A model's embeddings for `FusedAdam` to update by rows: path of the table to its L2 penalty, taken off the loss.

    A layer that is not built yet is left as it is.
    """
    tables = {}
    for layer in model._flatten_layers():
        if not isinstance(layer, keras.layers.Embedding) or not layer.built:
            continue
        table, penalty = layer.embeddings, 0.0
        if isinstance(table.regularizer, keras.regularizers.L2):
            penalty, table.regularizer = float(table.regularizer.l2), None
        # Another penalty is a gradient of the whole table.
        if table.regularizer is None:
            tables[table.path] = penalty
    return tables


class FusedAdam(keras.optimizers.Adam):
    """Keras's Adam with TensorFlow's kernel for it: the same updates, in float32 up to the order of roundings.

    Keras's own has a dozen operations for each variable, 300 or more a step of a ranking model, most of them of a few
    numbers, and those of an embedding pass a dozen times over the whole table.

    Of a row that a batch looks up n times, the gradient is the sum of n parts. Its square is that of the sum here, as
    in Adam's paper, TensorFlow's earlier optimizers and PyTorch. Keras 3 sums the squares of the parts, as long as
    nothing else, such as a penalty, makes the gradient dense: the steps of frequent rows are then up to sqrt(n) times
    as long.

    With `rows` this is Adam for tables that are too large to be passed over in each step. Adam moves every row in every
    step: by its moments after the last batch that had it, and by its penalty l2 |w|^2 for ever. Here a row stands still
    until a batch looks it up again; what the steps since would have done to it is then made up for in closed form
    (`after_idle_steps`), before the batch reads it (`keep_current`). `settle` does so for all rows, to be called before
    the model is judged or saved.

    A model that is saved with it is saved with Keras's Adam and the same state: who loads it needs nothing of this
    package.

    Args:
        learning_rate: as of `keras.optimizers.Adam`, whose other arguments are defaults.
        rows: of tables of which a step updates the rows that are looked up, the penalty l2 by path; see `take_tables`.
        **kwargs: of `keras.optimizers.Adam`; AMSGrad has no such kernel.

    Raises:
        ValueError: `amsgrad`.

    References:
        `LazyAdam` of TensorFlow Addons and `SparseAdam` of PyTorch, in which nothing is made up for.
        Carpenter, Lazy Sparse Stochastic Gradient Descent for Regularized Multinomial Logistic Regression, 2008, for
        penalties that are paid later.
    """

    def __init__(
        self, learning_rate: Any = 0.001, rows: Mapping[str, float] | None = None, name: str = "adam", **kwargs: Any
    ) -> None:
        super().__init__(learning_rate, name=name, **kwargs)
        if self.amsgrad:
            raise ValueError("`amsgrad` must be False: there is no fused update with it. Received: True")
        self._by_path = dict(rows or {})
        self._tables: dict[int, _Table] = {}

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Makes the state of the variables that are trained."""
        if self.built:
            return
        super().build(variables)
        for place, variable in enumerate(variables):
            if variable.path in self._by_path:
                done = tf.Variable(tf.fill([variable.shape[0]], self._steps()), trainable=False)
                moments = self._momentums[place].value, self._velocities[place].value
                self._tables[place] = _Table(variable.value, *moments, done, self._by_path[variable.path])

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Takes the state of another process, whose rows were settled."""
        super().load_own_variables(store)
        for table in self._tables.values():
            table.done.assign(tf.fill(table.done.shape, self._steps()))

    def keep_current(self, model: keras.Model) -> None:
        """Has a model's `IdEmbedding`s read rows that are up to date, when they read them to be trained."""
        for layer in model._flatten_layers():
            if isinstance(layer, IdEmbedding) and layer.embeddings.path in self._by_path:
                layer.before_training = self._make_current

    def settle(self) -> None:
        """Brings all rows up to date. On several devices, in the replica's context of each."""
        for table in self._tables.values():
            count = table.done.shape[0]

            def settle(start: tf.Tensor, table: _Table = table, count: int = count) -> tuple[tf.Tensor]:
                stop = tf.minimum(start + _SETTLED_AT_ONCE, count)
                self._read(table, tf.range(start, stop), write=True)
                return (stop,)

            tf.while_loop(lambda start, count=count: start < count, settle, (tf.constant(0),), parallel_iterations=1)

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Updates variables by their gradients; see the base class."""
        # Once a step, and not for each variable.
        step = self._steps() + 1
        self._powers = {"beta1_power": tf.pow(self.beta_1, step), "beta2_power": tf.pow(self.beta_2, step)}
        super().apply(grads, trainable_variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates one variable and its moments in place."""
        place = self._get_variable_index(variable)
        table = self._tables.get(place)
        variable = variable.value if isinstance(variable, keras.Variable) else variable
        kind = variable.dtype
        if table is not None and isinstance(gradient, tf.IndexedSlices):
            self._update_rows(tf.cast(gradient.values, kind), gradient.indices, table)
            return
        # Of rows, too: the moments of the others go on.
        gradient = tf.cast(tf.convert_to_tensor(gradient), kind)
        if table is not None:
            self.settle()
            gradient += 2 * table.penalty * variable
            table.done.assign(tf.fill(table.done.shape, self._steps() + 1))
        numbers = {"lr": learning_rate, "beta1": self.beta_1, "beta2": self.beta_2, "epsilon": self.epsilon}
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[place].value.handle,
            v=self._velocities[place].value.handle,
            grad=gradient,
            **{name: tf.cast(value, kind) for name, value in {**numbers, **self._powers}.items()},
        )

    def _update_rows(self, gradients: tf.Tensor, ids: tf.Tensor, table: _Table) -> None:
        rows, places = tf.unique(ids)
        # Up to date already where the layer saw to it.
        weights, momentum, velocity = self._read(table, rows)
        found = tf.math.unsorted_segment_sum(gradients, places, tf.size(rows))
        if table.penalty:
            found += 2 * table.penalty * weights
        numbers = self._numbers_of(self._steps() + 1, weights.dtype)
        momentum += (found - momentum) * (1 - numbers.beta1)
        velocity += (tf.square(found) - velocity) * (1 - numbers.beta2)
        weights -= numbers.rate * momentum / (tf.sqrt(velocity) + numbers.epsilon)
        table.write(rows, Rows(weights, momentum, velocity), self._steps() + 1)

    def _make_current(self, variable: keras.Variable, ids: tf.Tensor) -> None:
        if self.built:
            rows, _ = tf.unique(tf.reshape(ids, [-1]))
            self._read(self._tables[self._get_variable_index(variable)], rows, write=True)

    def _read(self, table: _Table, rows: tf.Tensor, write: bool = False) -> Rows:
        """Rows as they are after all steps so far; `write`: and has them so in the table."""
        found, done = table.read(rows)
        steps = tf.cast(self._steps() - done, found.weights.dtype)[:, tf.newaxis]
        numbers = self._numbers_of(tf.maximum(self._steps(), 1), found.weights.dtype)
        current = after_idle_steps(found, steps, table.penalty, numbers)
        if write:
            table.write(rows, current, self._steps())
        return current

    def _steps(self) -> tf.Tensor:
        """That were done."""
        return tf.cast(self.iterations.value, tf.float32)

    def _numbers_of(self, step: tf.Tensor, kind: tf.DType) -> AdamNumbers:
        corrected = tf.sqrt(1 - tf.pow(self.beta_2, step)) / (1 - tf.pow(self.beta_1, step))
        rate = tf.cast(self.learning_rate, tf.float32) * corrected
        return AdamNumbers(*(tf.cast(each, kind) for each in (rate, self.beta_1, self.beta_2, self.epsilon)))


class _Table(NamedTuple):
    """A table that is updated by rows, its moments, how many steps each row has behind it, and its penalty."""

    weights: tf.Variable
    momentum: tf.Variable
    velocity: tf.Variable
    done: tf.Variable
    penalty: float

    def read(self, rows: tf.Tensor) -> tuple[Rows, tf.Tensor]:
        """Weights and moments of rows int [R], and their steps float32 [R]."""
        variables = (self.weights, self.momentum, self.velocity, self.done)
        *state, done = (tf.raw_ops.ResourceGather(resource=v.handle, indices=rows, dtype=v.dtype) for v in variables)
        return Rows(*state), done

    def write(self, rows: tf.Tensor, state: Rows, done: tf.Tensor) -> None:
        """Sets weights and moments of rows, and their steps."""
        values = (*state, tf.fill(tf.shape(rows), done))
        for variable, value in zip((self.weights, self.momentum, self.velocity, self.done), values, strict=True):
            tf.raw_ops.ResourceScatterUpdate(resource=variable.handle, indices=rows, updates=value)


# What Keras writes of the class of an object.
FusedAdam.__module__, FusedAdam.__name__ = "keras.optimizers", "Adam"
