"""The fused update is Keras's own of the whole gradient, and goes on from Keras's state."""

from __future__ import annotations

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from dmf_keras.layers import IdEmbedding
from tfx_pipeline.training import fused_adam
from tfx_pipeline.training.fused_adam import FusedAdam, take_tables
from tfx_pipeline.training.idle_rows import AdamNumbers, Rows, after_idle_steps

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


def adam(table: np.ndarray, steps: int, penalty: float, rate: float = 0.02) -> np.ndarray:
    """Adam in float64 of the whole table, whose rows `lookups` names, with the penalty in each step."""
    table = table.astype(np.float64)
    momentum, velocity = np.zeros_like(table), np.zeros_like(table)
    for step in range(1, steps + 1):
        [slices] = lookups(step, keras.Variable(table))
        whole = 2 * penalty * table
        np.add.at(whole, slices.indices.numpy(), slices.values.numpy())
        momentum = 0.9 * momentum + 0.1 * whole
        velocity = 0.999 * velocity + 0.001 * whole**2
        scaled = rate * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        table -= scaled * momentum / (np.sqrt(velocity) + 1e-7)
    return table


@pytest.mark.parametrize(("penalty", "far"), [(0.0, 0.01), (0.001, 0.05)])
def test_rows_that_rest_are_where_adam_would_have_them_once_settled(monkeypatch, penalty, far):
    monkeypatch.setattr(fused_adam, "_SETTLED_AT_ONCE", 7)
    table = variables()[1]
    before = keras.ops.convert_to_numpy(table).copy()
    optimizer = FusedAdam(0.02, rows={table.path: penalty})
    step = tf.function(lambda found: optimizer.apply(found, [table]), reduce_retracing=True)
    for number in range(1, 61):
        step(lookups(number, table))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(table)[10:], before[10:])
    tf.function(optimizer.settle)()
    found, expected = keras.ops.convert_to_numpy(table), adam(before, 60, penalty)
    np.testing.assert_allclose(found[:10], expected[:10], atol=far)
    assert np.abs(found[:10] - before[:10]).max() > 5 * far
    # A row that no batch had goes by its penalty alone, in the end to zero.
    np.testing.assert_allclose(found[10:], expected[10:], atol=0.1 if penalty else 0)
    # Settled is settled.
    optimizer.settle()
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(table), found)


@pytest.mark.parametrize("idle", [1, 7, 80, 900])
@pytest.mark.parametrize(("penalty", "far"), [(0.0, 0.02), (1e-4, 0.1)])
def test_steps_without_a_row_in_closed_form(idle, penalty, far):
    rng = np.random.default_rng(0)
    begun = 3000
    weights, gradient = rng.normal(size=(5, 4)), 0.01 * rng.normal(size=(5, 4))
    momentum, velocity = 0.1 * gradient, 0.05 * gradient**2
    rows = Rows(*(tf.constant(each, tf.float32) for each in (weights, momentum, velocity)))
    rate = 0.003 * np.sqrt(1 - 0.999 ** (begun + idle))
    numbers = AdamNumbers(*(tf.constant(each, tf.float32) for each in (rate, 0.9, 0.999, 1e-7)))
    found = after_idle_steps(rows, tf.fill([5, 1], float(idle)), penalty, numbers)
    for step in range(begun, begun + idle):
        whole = 2 * penalty * weights
        momentum = 0.9 * momentum + 0.1 * whole
        velocity = 0.999 * velocity + 0.001 * whole**2
        weights = weights - 0.003 * np.sqrt(1 - 0.999**step) * momentum / (np.sqrt(velocity) + 1e-7)
    moved = np.abs(weights - rows.weights.numpy()).max()
    np.testing.assert_allclose(found.weights, weights, atol=far * moved)
    np.testing.assert_allclose(found.momentum, momentum, atol=far * np.abs(momentum).max() + 1e-9)
    np.testing.assert_allclose(found.velocity, velocity, atol=0.03 * velocity.max())


def test_a_batch_reads_rows_that_are_up_to_date():
    layer = IdEmbedding(*TABLE)
    layer.build()
    before = keras.ops.convert_to_numpy(layer.embeddings).copy()
    model = keras.Sequential([layer])
    optimizer = FusedAdam(0.02, rows={layer.embeddings.path: 0.0})
    optimizer.keep_current(model)
    optimizer.build([layer.embeddings])
    for number in range(1, 31):
        optimizer.apply(lookups(number, layer.embeddings), [layer.embeddings])
    resting = keras.ops.convert_to_numpy(layer.embeddings)
    asked = np.arange(12)
    np.testing.assert_array_equal(layer(asked), resting[:12])
    current = keras.ops.convert_to_numpy(layer(asked, training=True))
    expected = adam(before, 30, 0.0)[:12]
    assert np.abs(current - expected).max() < 0.5 * np.abs(resting[:12] - expected).max()
    np.testing.assert_array_equal(layer(asked), current)


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
    optimizer, plain = FusedAdam(0.02, rows={ours[1].path: 0.3}), keras.optimizers.Adam(0.02)
    for number in range(1, 6):
        found = [tf.convert_to_tensor(each) for each in gradients(number)]
        optimizer.apply(found, ours)
        plain.apply([found[0], found[1] + 2 * 0.3 * theirs[1]], theirs)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-6)


def test_rows_of_a_training_that_goes_on_are_settled():
    state: dict[str, np.ndarray] = {}
    table = variables()[1]
    first = FusedAdam(0.02, rows={table.path: 0.001})
    for number in range(1, 6):
        first.apply(lookups(number, table), [table])
    first.settle()
    first.save_own_variables(state)
    copy = keras.Variable(keras.ops.copy(table))
    second = FusedAdam(0.02, rows={copy.path: 0.001})
    second.build([copy])
    second.load_own_variables(state)
    assert second.iterations.numpy() == 5
    second.settle()
    np.testing.assert_array_equal(copy, table)
    for optimizer, variable in ((first, table), (second, copy)):
        optimizer.apply(lookups(6, variable), [variable])
    np.testing.assert_array_equal(copy, table)


def test_tables_are_embeddings_and_their_penalties_are_taken_from_the_loss():
    l2, l1 = keras.regularizers.L2(0.5), keras.regularizers.L1(0.5)
    model = keras.Sequential(
        [
            keras.layers.Embedding(10, 4, embeddings_regularizer=l2, name="ids"),
            keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(0.25)),
        ]
    )
    assert take_tables(model) == {}
    model(np.array([[1, 2]]))
    assert len(model.losses) == 2
    path = model.layers[0].embeddings.path
    assert take_tables(model) == {path: 0.5}
    assert len(model.losses) == 1
    assert take_tables(model) == {path: 0.0}
    other = keras.Sequential([keras.layers.Embedding(10, 4, embeddings_regularizer=l1)])
    other(np.array([[1, 2]]))
    assert take_tables(other) == {}
    assert len(other.losses) == 1


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
