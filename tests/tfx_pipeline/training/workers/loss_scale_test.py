"""Loss scaling that replicas agree on."""

from __future__ import annotations

import json
import subprocess
import sys

import keras
import numpy as np

from tests.tfx_pipeline.training.trainer_test import ROOT
from tfx_pipeline.training.workers.loss_scale import AgreedLossScale

# Two devices of a CPU stand for two processes.
TWO = """
import json
import numpy as np
import tensorflow as tf

cpu, = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

import keras

from tfx_pipeline.training.workers.loss_scale import AgreedLossScale

strategy = tf.distribute.MirroredStrategy(tf.config.list_logical_devices("CPU"))
with strategy.scope():
    scale = AgreedLossScale(keras.optimizers.SGD())


@tf.function
def finite(gradients):
    return strategy.run(lambda gradient: scale.check_finite([None, gradient]), (gradients,))


found = []
for gradients in ([1.0, 2.0], [1.0, np.inf], [np.nan, 2.0]):
    of_replicas = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant([0.0, gradients[context.replica_id_in_sync_group]])
    )
    found.append([bool(value) for value in strategy.experimental_local_results(finite(of_replicas))])
print(json.dumps(found))
"""


def test_a_step_is_left_out_where_any_replica_overflows():
    done = subprocess.run(
        [sys.executable, "-c", TWO], cwd=ROOT, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == [[True, True], [False, False], [False, False]]


def test_it_is_saved_as_that_of_keras(tmp_path):
    def model(scale: type[keras.optimizers.LossScaleOptimizer]) -> keras.Model:
        made = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        made.compile(optimizer=scale(keras.optimizers.Adam(0.1)), loss="mse", auto_scale_loss=False)
        return made

    ours, theirs = model(AgreedLossScale), model(keras.optimizers.LossScaleOptimizer)
    x = np.ones((4, 2), np.float32)
    ours.fit(x, x[:, :1] + 1, verbose=0)
    ours.save_weights(tmp_path / "a.weights.h5")
    theirs.optimizer.build(theirs.trainable_variables)
    theirs.load_weights(tmp_path / "a.weights.h5")
    for mine, other in zip(ours.optimizer.variables, theirs.optimizer.variables, strict=True):
        np.testing.assert_array_equal(mine, other)
    ours.save(tmp_path / "a.keras")
    loaded = keras.models.load_model(tmp_path / "a.keras")
    assert type(loaded.optimizer) is keras.optimizers.LossScaleOptimizer
