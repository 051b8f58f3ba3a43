"""What Keras lacks for a model that several replicas train: in one process, or in several that work together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from dmf_keras.types import Tensor

replicas: Any = None
if keras.backend.backend() == "tensorflow":
    from dmf_keras.ops import tensorflow_replicas as replicas


class ReplicatedModel(keras.Model):
    """A Keras model whose distributed steps are those of one replica that is given the whole batch.

    Without a strategy, or with one replica, everything is Keras's own; so it is on other backends than TensorFlow.
    Written for Keras 3.15, of which it overrides two private methods:

    - `_maybe_symbolic_build` makes the metrics from the mean of the replicas' batches. In that ids are no integers any
      more, it does not exist where the replicas' batches differ in size, and `MultiWorkerMirroredStrategy` fails on it.
    - `_make_function` ends each step with `strategy.reduce("MEAN", value, axis=0)` of scalars, which have no axis 0:
      several processes fail in the first step (keras-team/keras#20585).
    """

    def build_step(self, batch: Any) -> None:
        """Makes metrics and loss of a compiled model before `fit`, which reads a batch of its data for it otherwise.

        Args:
            batch: (inputs, labels, weights) as of a replica. Its values are not looked at.
        """
        strategy = self._strategy()
        if strategy is not None and not self._has_step():
            with strategy.scope():
                self._symbolic_build(data_batch=batch)

    def of_whole_batch(self, loss: Tensor, weight: Tensor) -> Tensor:
        """A replica's loss, counted by the weight of its samples: see `tensorflow_replicas.loss_of_whole_batch`."""
        return loss if replicas is None else replicas.loss_of_whole_batch(loss, weight)

    def _strategy(self) -> Any:
        return getattr(self, "_distribute_strategy", None)

    def _has_step(self) -> bool:
        parts = (*self._flatten_layers(), self._compile_metrics, self._compile_loss)
        return all(part is None or part.built for part in parts)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        strategy = self._strategy()
        if strategy is None or self._has_step():
            return
        if iterator is not None:
            _, _, batches = next(iter(iterator))
            data_batch = replicas.first_replica(strategy, next(batches))
        self.build_step(data_batch)

    def _make_function(self, step_function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Of several processes the logs of a step are this one's own; those of an epoch are everybody's."""
        strategy = self._strategy()
        if strategy is None or not replicas.is_of_several_processes(strategy):
            return super()._make_function(step_function)  # type: ignore[no-any-return]
        if self.steps_per_execution > 1:
            raise ValueError(
                f"`steps_per_execution` must be 1 where several processes train. Received: {self.steps_per_execution}"
            )
        step_function = self._autoconvert_optionals(step_function)
        return replicas.step_of_iterator(strategy, step_function, self.run_eagerly)  # type: ignore[no-any-return]
