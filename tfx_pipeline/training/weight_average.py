"""The average of the weights of a training's last steps, in place of those of its last step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

_EVERY = 10
_SHARE = 10
_COUNTED = "counted"


class WeightAverage(keras.callbacks.Callback):
    """Polynomial-decay averaging of the trained weights, which validation sees in their place.

    Each tenth step is counted, and the last of an epoch: with n counted before,

        average += 10 / (10 + n) (weights - average)

    so that the average is over about the last tenth of all steps so far. The steps themselves go on from the weights.
    With a constant learning rate these move about the best ones, which their average is nearer to.

    References:
        Shamir and Zhang, Stochastic Gradient Descent for Non-smooth Optimization, arXiv:1212.1824.
    """

    def __init__(self) -> None:
        super().__init__()
        self._steps = 0
        self._counted = tf.Variable(0.0, trainable=False)
        self._averages: list[tf.Variable] = []
        self._count = tf.function(self._add, autograph=False)

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Makes room for the averages."""
        self._make()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Counts each tenth step."""
        self._steps += 1
        if self._steps % _EVERY == 0:
            self._count()

    def on_test_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Counts the last step of the epoch, and gives the model the averages."""
        self._count_last()
        self._raw = self._put(self._averages)

    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Gives the model its weights back."""
        self._put(self._raw)

    @contextlib.contextmanager
    def in_model(self) -> Iterator[None]:
        """Within it the model has the averages, as in validation."""
        self.on_test_begin()
        try:
            yield
        finally:
            self.on_test_end()

    def save(self, file: Path) -> None:
        """Writes the averages, to go on with them in another process."""
        arrays = {str(place): average.numpy() for place, average in enumerate(self._averages)}
        np.savez(file, **arrays, **{_COUNTED: self._counted.numpy()})

    def load(self, file: Path) -> None:
        """Reads what `save` wrote."""
        self._make()
        with np.load(file) as arrays:
            for place, average in enumerate(self._averages):
                average.assign(arrays[str(place)])
            self._counted.assign(arrays[_COUNTED])

    @property
    def _weights(self) -> list[tf.Variable]:
        return [variable.value for variable in self.model.trainable_variables]

    def _make(self) -> None:
        if not self._averages:
            self._averages = [tf.Variable(tf.identity(weight), trainable=False) for weight in self._weights]

    def _count_last(self) -> None:
        """Counts the step before, unless it is: an epoch may have fewer than are needed to count one."""
        if self._steps % _EVERY:
            self._steps = 0
            self._count()

    def _add(self) -> None:
        share = _SHARE / (_SHARE + self._counted)
        for average, weight in zip(self._averages, self._weights, strict=True):
            average.assign_add(tf.cast(share, weight.dtype) * (weight - average))
        self._counted.assign_add(1.0)

    def _put(self, values: list[Any]) -> list[tf.Tensor]:
        """Gives the model these weights, and returns those that it had."""
        weights = self._weights
        before = [tf.identity(weight) for weight in weights]
        with self.model.distribute_strategy.scope():
            for weight, value in zip(weights, values, strict=True):
                weight.assign(value)
        return before
