"""Padding that is not finite, as a model is given it: content, labels and weights of candidates that do not exist."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest

from dmf_keras.models import model_names
from tests.dmf_keras.models.batches import requests, small_model

to_numpy = keras.ops.convert_to_numpy
REAL = np.arange(4) < [[4], [2], [1]]


def _request(filler: float) -> dict[str, np.ndarray]:
    """Four candidates of which `REAL` exist, each with content of its own."""
    x = requests(3, 4, 5)
    for name in ("candidate_index", "candidate_content_row"):
        x[name] = x[name] * REAL
    vectors = np.random.default_rng(0).normal(size=(3, 4, 6)).astype(np.float32)
    x["candidate_content_text"] = np.where(REAL[..., None], vectors, np.float32(filler))
    return x


def _after(name: str, filler: float) -> list[np.ndarray]:
    """Scores of real candidates, the loss of a step of training, and the weights after it."""
    y = np.random.default_rng(1).integers(0, 2, (3, 4)).astype(np.float32)
    model, x = small_model(name=name), _request(filler)
    scores = to_numpy(model(x))[REAL]
    # To build the graph of a step takes as long as dozens of steps without one.
    model.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    filled = (np.where(REAL, array, np.float32(filler)) for array in (y, np.full_like(y, 0.5)))
    keras.utils.set_random_seed(0)
    loss = model.train_on_batch(x, *filled)
    return [scores, np.asarray(loss), *model.get_weights()]


@functools.cache
def _with_zeros(name: str) -> list[np.ndarray]:
    return _after(name, 0.0)


@pytest.mark.parametrize("filler", [np.nan, 1e38])
@pytest.mark.parametrize("name", model_names())
def test_scores_and_a_step_of_training(name, filler):
    for one, other in zip(_with_zeros(name), _after(name, filler), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-5)
