from __future__ import annotations

import keras
import numpy as np

from dmf_keras.ops.entire_space import joint_logits

to_numpy = keras.ops.convert_to_numpy


def _reference(logits: np.ndarray, parents: tuple[int | None, ...]) -> np.ndarray:
    p = 1 / (1 + np.exp(-logits.astype(np.longdouble)))
    joint = []
    for place, parent in enumerate(parents):
        joint.append(p[..., place] if parent is None else p[..., place] * joint[parent])
    joint = np.stack(joint, axis=-1)
    return np.log(joint) - np.log1p(-joint)


def test_is_the_logit_of_the_product():
    logits = np.random.default_rng(0).normal(scale=3, size=(4, 5, 4)).astype(np.float32)
    for parents in ((None, 0, 1, None), (None, None, 1, 1), (None, 0, 0, 2)):
        expected = _reference(logits, parents)
        np.testing.assert_allclose(to_numpy(joint_logits(logits, parents)), expected, rtol=2e-4, atol=2e-5)


def test_an_event_without_condition_keeps_its_logit():
    logits = np.array([[-300.0, 40.0]], np.float32)
    np.testing.assert_array_equal(to_numpy(joint_logits(logits, (None, None))), logits)


def test_extreme_logits_stay_finite():
    extremes = np.array([-200.0, -30.0, 0.0, 30.0, 200.0], np.float32)
    logits = np.stack(np.meshgrid(extremes, extremes, extremes), axis=-1).reshape(-1, 3)
    joint = to_numpy(joint_logits(logits, (None, 0, 1)))
    assert np.isfinite(joint).all()
    # A certain condition leaves the other's logit; an impossible one is as unlikely as itself and the other.
    sure = to_numpy(joint_logits(np.array([[100.0, 1.5]], np.float32), (None, 0)))
    np.testing.assert_allclose(sure, [[100.0, 1.5]], rtol=1e-6)
    never = to_numpy(joint_logits(np.array([[-100.0, -50.0]], np.float32), (None, 0)))
    np.testing.assert_allclose(never, [[-100.0, -150.0]], rtol=1e-6)
