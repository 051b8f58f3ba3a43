"""The fused update is Keras's own of the whole gradient, and goes on from Keras's state."""

from __future__ import annotations

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfx_pipeline.training.fused_adam import FusedAdam, take_penalties

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


def lookups(number: int, variable: keras.Variable) -> list[tf.IndexedSlices]:
    """The gradient of a batch that looks up a few rows, some of them twice."""
    rng = np.random.default_rng(number)
    rows = rng.integers(0, 10, 4)
    parts = rng.normal(size=(4, variable.shape[1])).astype(np.float32)
    return [tf.IndexedSlices(tf.constant(parts), tf.constant(rows), tf.constant(TABLE))]


def by_row(table: np.ndarray, steps: int, penalty: float, rate: float = 0.02) -> np.ndarray:
    """Adam in float64 of the rows that `lookups` names, one after the other."""
    table = table.astype(np.float64)
    momentum, velocity, paid = np.zeros_like(table), np.zeros_like(table), np.zeros(len(table))
    for step in range(1, steps + 1):
        [slices] = lookups(step, keras.Variable(table))
        for row in set(slices.indices.numpy().tolist()):
            whole = slices.values.numpy()[slices.indices.numpy() == row].sum(0, dtype=np.float64)
            whole += 2 * penalty * (step - paid[row]) * table[row]
            paid[row] = step
            momentum[row] = 0.9 * momentum[row] + 0.1 * whole
            velocity[row] = 0.999 * velocity[row] + 0.001 * whole**2
            scaled = rate * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
            table[row] -= scaled * momentum[row] / (np.sqrt(velocity[row]) + 1e-7)
    return table


@pytest.mark.parametrize("penalty", [0.0, 0.3])
def test_rows_alone_are_updated_and_pay_for_the_steps_since_they_were(penalty):
    table = variables()[1]
    before = keras.ops.convert_to_numpy(table).copy()
    optimizer = FusedAdam(0.02, rows=True, penalties={table.path: penalty})
    step = tf.function(lambda found: optimizer.apply(found, [table]), reduce_retracing=True)
    for number in range(1, 31):
        step(lookups(number, table))
    found = keras.ops.convert_to_numpy(table)
    np.testing.assert_allclose(found, by_row(before, 30, penalty), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found[10:], before[10:])
    assert np.abs(found[:10] - before[:10]).min(axis=1).min() > 0


def test_without_it_all_rows_go_on_by_their_moments():
    table = variables()[1]
    optimizer = FusedAdam(0.02)
    optimizer.apply([tf.IndexedSlices(tf.ones([1, TABLE[1]]), tf.constant([3]), tf.constant(TABLE))], [table])
    before = keras.ops.convert_to_numpy(table).copy()
    optimizer.apply([tf.IndexedSlices(tf.ones([1, TABLE[1]]), tf.constant([7]), tf.constant(TABLE))], [table])
    moved = np.abs(keras.ops.convert_to_numpy(table) - before).max(axis=1)
    assert np.flatnonzero(moved).tolist() == [3, 7]


def test_a_penalty_on_a_dense_gradient_is_that_of_keras():
    ours, theirs = variables(), variables()
    optimizer, plain = FusedAdam(0.02, rows=True, penalties={ours[1].path: 0.3}), keras.optimizers.Adam(0.02)
    for number in range(1, 6):
        found = [tf.convert_to_tensor(each) for each in gradients(number)]
        optimizer.apply(found, ours)
        plain.apply([found[0], found[1] + 2 * 0.3 * theirs[1]], theirs)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-6)


def test_rows_of_a_training_that_goes_on_have_paid():
    state: dict[str, np.ndarray] = {}
    first, table = FusedAdam(0.02, rows=True), variables()[1]
    for number in range(1, 6):
        first.apply(lookups(number, table), [table])
    first.save_own_variables(state)
    found = {}
    for penalty in (0.0, 0.3):
        copy = keras.Variable(keras.ops.copy(table))
        optimizer = FusedAdam(0.02, rows=True, penalties={copy.path: penalty})
        optimizer.build([copy])
        optimizer.load_own_variables(state)
        before = optimizer.iterations.numpy()
        optimizer.apply(lookups(6, copy), [copy])
        assert before == 5
        found[penalty] = keras.ops.convert_to_numpy(copy)
    # By that of one step, which Adam makes at most the learning rate of.
    assert 0 < np.abs(found[0.3] - found[0.0]).max() < 0.04


def test_penalties_are_those_of_embeddings_and_are_taken_from_the_loss():
    model = keras.Sequential(
        [
            keras.layers.Embedding(10, 4, embeddings_regularizer=keras.regularizers.L2(0.5), name="ids"),
            keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(0.25)),
        ]
    )
    assert take_penalties(model) == {}
    model(np.array([[1, 2]]))
    assert len(model.losses) == 2
    assert take_penalties(model) == {model.layers[0].embeddings.path: 0.5}
    assert len(model.losses) == 1


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
