from __future__ import annotations

import keras
import numpy as np
import pytest

from dmf_keras.layers import ScoreCalibration
from dmf_keras.testing import check_layer

to_numpy = keras.ops.convert_to_numpy
X, Y = np.array([-2.0, -1.0, 0.5, 3.0]), np.array([-4.0, -1.5, -1.0, 0.0])


def layer(x=X, y=Y):
    made = ScoreCalibration(len(x))
    made.set_points(x, y)
    return made


def reference(logits, x=X, y=Y):
    first, last = (y[1] - y[0]) / (x[1] - x[0]), (y[-1] - y[-2]) / (x[-1] - x[-2])
    before, behind = y[0] + (logits - x[0]) * first, y[-1] + (logits - x[-1]) * last
    return np.where(logits < x[0], before, np.where(logits > x[-1], behind, np.interp(logits, x, y)))


@pytest.mark.parametrize(("x", "y"), [(X, Y), (X[:2], Y[:2]), (X[:3], Y[:3])])
def test_a_line_through_points_that_goes_on(x, y):
    logits = np.concatenate([np.linspace(-9, 9, 101), x]).astype(np.float32)[None]
    np.testing.assert_allclose(to_numpy(layer(x, y)(logits)), reference(logits, x, y), atol=1e-5)


def test_order_is_kept():
    logits = np.sort(np.random.default_rng(1).normal(size=1000) * 5).astype(np.float32)
    assert (np.diff(to_numpy(layer()(logits))) >= 0).all()


def test_before_points_are_set_logits_stay_as_they_are():
    logits = np.linspace(-9, 9, 31, dtype=np.float32)
    for points in (2, 5):
        np.testing.assert_allclose(to_numpy(ScoreCalibration(points)(logits)), logits, atol=1e-5)


@pytest.mark.parametrize("points", [2, 4])
def test_layer_checks(points, tmp_path):
    def make(**options):
        made = ScoreCalibration(points, **options)
        made.set_points(X[:points], Y[:points])
        return made

    logits = np.linspace(-5, 5, 12, dtype=np.float32).reshape(3, 4)
    check_layer(make, {"logits": logits}, lambda made, x: made(x["logits"]), tmp_path)


@pytest.mark.parametrize("shape", [(0,), (2, 0), (3, 4)])
def test_any_shape(shape):
    assert to_numpy(layer()(np.zeros(shape, np.float32))).shape == shape


def test_saved_with_its_points(tmp_path):
    model = keras.Sequential([keras.Input((3,)), layer()])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    logits = np.array([[-3.0, 0.2, 9.0]], np.float32)
    np.testing.assert_array_equal(to_numpy(loaded(logits)), to_numpy(model(logits)))
    assert model.trainable_weights == []


@pytest.mark.parametrize(
    ("x", "y"), [(X[::-1], Y), (X, Y[::-1]), (X[:3], Y[:3]), (X, np.full(4, 1.0)), (np.array([0, 1, 2, np.nan]), Y)]
)
def test_refuses_points_that_make_no_rising_line(x, y):
    with pytest.raises(ValueError, match="must be 4 finite numbers that rise"):
        ScoreCalibration(4).set_points(x, y)


def test_refuses_one_point():
    with pytest.raises(ValueError, match="at least 2"):
        ScoreCalibration(1)
