"""The average of the weights: what it is, where it is seen, and that a new process goes on with it."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfx_pipeline.training.callbacks import AtomicBackup, BestEpoch
from tfx_pipeline.training.weight_average import WeightAverage

X = np.random.default_rng(0).normal(size=(46, 3)).astype(np.float32)
Y = X @ np.float32([[1], [-2], [3]])


def a_model() -> keras.Model:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
    return model


class Watch(keras.callbacks.Callback):
    """The weights after each step, those that validation saw, and those after each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[np.ndarray] = []
        self.judged: list[np.ndarray] = []
        self.after: list[np.ndarray] = []

    def _now(self) -> np.ndarray:
        return np.concatenate([weight.numpy().ravel() for weight in self.model.trainable_variables])

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(self._now())

    def on_test_batch_begin(self, batch, logs=None):
        self.judged.append(self._now())

    def on_epoch_end(self, epoch, logs=None):
        self.after.append(self._now())


def fit(
    model: keras.Model, *callbacks: keras.callbacks.Callback, epochs: int, batch: int = 2
) -> keras.callbacks.History:
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(batch)
    judged = tf.data.Dataset.from_tensor_slices((X, Y)).batch(len(X))
    return model.fit(data, validation_data=judged, epochs=epochs, verbose=0, callbacks=list(callbacks))


def expected(steps: list[np.ndarray], counted: list[int]) -> np.ndarray:
    average = np.zeros_like(steps[0])
    for n, step in enumerate(counted):
        average = average + 10 / (10 + n) * (steps[step] - average)
    return average


def test_validation_sees_the_average_and_the_steps_go_on_from_the_weights():
    watch, plain = Watch(), Watch()
    fit(a_model(), WeightAverage(), watch, epochs=2)
    fit(a_model(), plain, epochs=2)
    np.testing.assert_array_equal(watch.steps, plain.steps)
    # 23 steps an epoch: each tenth and the last of an epoch, from where tens are counted anew.
    for epoch, counted in enumerate(([9, 19, 22], [9, 19, 22, 32, 42, 45])):
        np.testing.assert_allclose(watch.judged[epoch], expected(watch.steps, counted), rtol=1e-5)
        np.testing.assert_array_equal(watch.after[epoch], watch.steps[23 * (epoch + 1) - 1])


def test_an_epoch_of_a_few_steps_is_that_of_its_last():
    watch = Watch()
    fit(a_model(), WeightAverage(), watch, epochs=1, batch=12)
    np.testing.assert_allclose(watch.judged[0], watch.steps[3], rtol=1e-6)


def test_the_best_epoch_keeps_the_average(tmp_path):
    average, watch, model = WeightAverage(), Watch(), a_model()
    best = BestEpoch(tmp_path, patience=1, average=average)
    # As of an AUC.
    watch.on_epoch_begin = lambda epoch, logs=None: None
    fit(model, average, Auc(), best, watch, epochs=2)
    kept = np.concatenate([weight.numpy().ravel() for weight in model.trainable_variables])
    np.testing.assert_array_equal(kept, watch.judged[best.best])


class Auc(keras.callbacks.Callback):
    """An eval AUC that rises."""

    def on_epoch_end(self, epoch, logs=None):
        logs["val_auc"] = 0.6 + epoch / 10


@pytest.mark.parametrize("averaged", [True, False])
def test_another_process_goes_on_with_it(tmp_path: Path, averaged: bool):
    """Killed after its first epoch; a backup from before there was an average begins one."""
    whole = Watch()
    fit(a_model(), WeightAverage(), whole, epochs=2)
    first = WeightAverage()
    fit(a_model(), first, AtomicBackup(tmp_path / "backup", first if averaged else None), epochs=1)
    again, rest = WeightAverage(), Watch()
    fit(a_model(), again, AtomicBackup(tmp_path / "backup", again), rest, epochs=2)
    np.testing.assert_array_equal(rest.steps, whole.steps[23:])
    of_rest = expected(rest.steps, [9, 19, 22])
    np.testing.assert_allclose(rest.judged[0], whole.judged[1] if averaged else of_rest, rtol=1e-5)
