"""The fused update is Keras's own of the whole gradient, and goes on from Keras's state."""

from __future__ import annotations

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfx_pipeline.training.fused_adam import FusedAdam

TABLE, LOOKED_UP = (50, 4), [3, 7, 3, 3, 49]


def gradients(step: int) -> list[tf.Tensor | tf.IndexedSlices]:
    rng = np.random.default_rng(step)
    dense = tf.constant(rng.normal(size=(8, 3)), tf.float32)
    rows = tf.constant(rng.normal(size=(len(LOOKED_UP), TABLE[1])), tf.float32)
    return [dense, tf.IndexedSlices(rows, tf.constant(LOOKED_UP), tf.constant(TABLE))]


def trained(optimizer: keras.optimizers.Optimizer, variables: list[keras.Variable], steps: range) -> list[np.ndarray]:
    """Keras gets the gradient of the table as a whole: of rows, it sums the squares of what are parts of one."""

    whole = not isinstance(optimizer, FusedAdam)

    @tf.function
    def step(found):
        optimizer.apply([tf.convert_to_tensor(each) if whole else each for each in found], variables)

    for number in steps:
        step(gradients(number))
    return [keras.ops.convert_to_numpy(each) for each in (*variables, *optimizer.variables)]


def variables() -> list[keras.Variable]:
    rng = np.random.default_rng(0)
    return [keras.Variable(rng.normal(size=shape).astype(np.float32)) for shape in ((8, 3), TABLE)]


@pytest.mark.parametrize("options", [{}, {"beta_1": 0.5, "epsilon": 1e-3}, {"weight_decay": 0.01}])
def test_updates_and_moments_are_those_of_keras(options):
    ours, theirs = FusedAdam(0.02, **options), keras.optimizers.Adam(0.02, **options)
    for found, expected in zip(
        trained(ours, variables(), range(20)), trained(theirs, variables(), range(20)), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)


def test_a_training_that_keras_began_goes_on():
    theirs, shared = keras.optimizers.Adam(0.02), variables()
    trained(theirs, shared, range(5))
    ours = FusedAdam(0.02)
    ours.build(shared)
    state: dict[str, np.ndarray] = {}
    theirs.save_own_variables(state)
    ours.load_own_variables(state)
    copies = [keras.Variable(keras.ops.copy(variable)) for variable in shared]
    found = trained(ours, shared, range(5, 10))
    fresh = keras.optimizers.Adam(0.02)
    fresh.build(copies)
    fresh.load_own_variables(state)
    for one, other in zip(found, trained(fresh, copies, range(5, 10)), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-6)


def test_a_saved_model_has_the_adam_of_keras_and_its_state(tmp_path):
    """Loaded by a process that knows nothing of the pipeline."""
    model = keras.Sequential([keras.layers.Dense(3)])
    model.compile(FusedAdam(0.02, beta_1=0.8), "mse", jit_compile=False)
    model.fit(np.ones((4, 2), np.float32), np.ones((4, 3), np.float32), epochs=3, verbose=0)
    model.save(tmp_path / "model.keras")
    program = (
        "import json, sys, keras; optimizer = keras.models.load_model(sys.argv[1]).optimizer; "
        "assert type(optimizer) is keras.optimizers.Adam and 'tfx_pipeline' not in sys.modules; "
        "found = [keras.ops.convert_to_numpy(each).tolist() for each in optimizer.variables]; "
        "print(json.dumps([optimizer.beta_1, found]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "model.keras")], capture_output=True, text=True, check=True
    )
    beta_1, found = json.loads(done.stdout.splitlines()[-1])
    assert beta_1 == 0.8
    for one, other in zip(found, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(np.float32(one), np.float32(keras.ops.convert_to_numpy(other)))


def test_amsgrad_is_refused():
    with pytest.raises(ValueError, match="`amsgrad` must be False"):
        FusedAdam(amsgrad=True)
