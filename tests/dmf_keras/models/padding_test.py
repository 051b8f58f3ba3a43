"""Padding that is not finite, as a model is given it: content, labels and weights of candidates that do not exist."""

from __future__ import annotations

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


@pytest.mark.parametrize("filler", [np.nan, 1e38])
@pytest.mark.parametrize("name", model_names())
def test_scores_and_a_step_of_training(name, filler):
    y = np.random.default_rng(1).integers(0, 2, (3, 4)).astype(np.float32)
    after = []
    for value in (0.0, filler):
        model, x = small_model(name=name), _request(value)
        scores = to_numpy(model(x))[REAL]
        model.compile(keras.optimizers.SGD(0.1))
        filled = (np.where(REAL, array, np.float32(value)) for array in (y, np.full_like(y, 0.5)))
        loss = model.train_on_batch(x, *filled)
        after.append([scores, np.asarray(loss), *model.get_weights()])
    for one, other in zip(*after, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-5)
