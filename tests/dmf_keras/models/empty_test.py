"""Histories of length 0 and pages of 0 candidates in every model, on every backend."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest

from dmf_keras.models import model_names
from tests.dmf_keras.models.batches import requests, small_model

pytestmark = pytest.mark.parametrize("name", model_names())
to_numpy = keras.ops.convert_to_numpy


@functools.cache
def model_of(name: str):
    return small_model(name=name)


@pytest.mark.parametrize(("candidates", "history"), [(3, 0), (0, 4), (0, 0)])
def test_scores_and_explains(name, candidates, history):
    model, x = model_of(name), requests(2, candidates, history)
    state = model.encode_user(x)
    scores = to_numpy(model.score(state, x))
    assert scores.shape == (2, candidates) and np.isfinite(scores).all()
    for told, values in model.explain(state, x).items():
        assert values.shape[:2] == (2, candidates), told
        assert np.isfinite(to_numpy(values)).all(), told


def test_no_history_is_a_history_of_padding(name):
    model, x = model_of(name), requests(2, 3, 0)
    padding = {key: np.zeros((2, 4), x[key].dtype) for key in ("history_index", "history_content_row")}
    np.testing.assert_allclose(to_numpy(model(x)), to_numpy(model(x | padding)), atol=1e-6)
