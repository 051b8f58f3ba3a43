from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from dmf_keras.ops.cosine import cosine
from tests.dmf_keras.gradients import gradients


def test_equals_the_definition():
    one, other = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    expected = (one * other).sum(-1) / np.linalg.norm(one, axis=-1) / np.linalg.norm(other, axis=-1)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(cosine(one, other)), expected, atol=1e-6)


@pytest.mark.parametrize("scale", [0.0, 1e-10])
def test_of_nothing_is_0_in_value_and_gradient(scale):
    one, other = np.full((2, 3), scale, np.float32), np.ones((2, 3), np.float32)
    assert not keras.ops.convert_to_numpy(cosine(one, other)).any()
    found = gradients(lambda one, other: ops.sum(cosine(one, other)), {"one": one, "other": other})
    assert not any(gradient.any() for gradient in found.values())
