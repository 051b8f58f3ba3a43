"""Every model of the registry, exported and loaded as TensorFlow Serving loads it, scores as it does in Keras."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from dmf_keras.models import model_names
from serving import contract
from serving.export.content_inputs import ContentInputs
from serving.export.servable import Servable
from serving.export.signatures import export_model, score_requests
from tests.serving.export.small_models import REQUESTS, VocabularyTransform, raw_requests, serialized, small_model


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "params"), [*((name, {}) for name in model_names()), ("dmf", {"history_top_k": 2})], ids=str
)
def test_exported_model_scores_as_in_keras_by_every_way(name, params, tmp_path):
    model, transform, raw = small_model(name, params=params), VocabularyTransform(), raw_requests()
    live_inputs = {key: tf.constant(value) for key, value in raw.items()}
    live = score_requests(model, transform, live_inputs, ContentInputs(model)).numpy()
    written = export_model(model, transform, tmp_path / "model", name=name, max_history=50)
    assert written.model == name
    assert contract.ModelContract.read(tmp_path / "model") == written

    candidates = raw.pop(contract.CANDIDATE_ITEM_ID)
    with Servable(tmp_path / "model") as servable:
        rank = servable.run(contract.RANK, {**raw, contract.CANDIDATE_ITEM_ID: candidates})[contract.SCORE]
        state = servable.run(contract.USER_TOWER, raw)
        two_step = servable.run(contract.CANDIDATE, {**state, contract.CANDIDATE_ITEM_ID: candidates})[contract.SCORE]
        examples = np.array([serialized(request) for request in REQUESTS], object)
        examples = servable.run(contract.SERVING_DEFAULT, {contract.EXAMPLES: examples})[contract.SCORE]
        # A state of one user scores candidates that came later, and more of them.
        (row,) = servable.run(
            contract.CANDIDATE,
            {**{key: value[:1] for key, value in state.items()}, contract.CANDIDATE_ITEM_ID: candidates[:1, ::-1]},
        )[contract.SCORE]

        alone = [
            servable.run(
                contract.USER_TOWER,
                {**_row(raw, number), contract.HISTORY_ITEM_ID: np.array([request["history"]], object)},
            )
            for number, request in enumerate(REQUESTS)
        ]
        batched = {key: _as_a_server_pads([one[key] for one in alone]) for key in state}
        batched = servable.run(contract.CANDIDATE, {**batched, contract.CANDIDATE_ITEM_ID: candidates})[contract.SCORE]

    np.testing.assert_allclose(batched, rank, atol=1e-5)
    assert all(len(value) == len(REQUESTS) for value in state.values())
    np.testing.assert_allclose(rank, live, atol=1e-5)
    np.testing.assert_allclose(two_step, rank, atol=1e-6)
    np.testing.assert_allclose(row[::-1], rank[0], atol=1e-5)
    for number, request in enumerate(REQUESTS):
        count = len(request["candidates"])
        np.testing.assert_allclose(examples[number, :count], rank[number, :count], atol=1e-5)
    real = np.concatenate([rank[number, : len(request["candidates"])] for number, request in enumerate(REQUESTS)])
    assert np.isfinite(real).all()
    assert ((real > 0) & (real < 1)).all()
    assert np.ptp(rank[0]) > 0.01, "the candidates of one user should differ"


def _row(raw, number):
    return {key: value[number : number + 1] for key, value in raw.items()}


def _as_a_server_pads(tensors):
    """One batch of tensors [1, L, ...] of unequal L, as TensorFlow Serving makes it: filled with the first element."""
    if tensors[0].ndim == 1:
        return np.concatenate(tensors)
    longest = max(tensor.shape[1] for tensor in tensors)
    fill = [
        np.full((1, longest - tensor.shape[1], *tensor.shape[2:]), tensor.ravel()[0], tensor.dtype)
        for tensor in tensors
    ]
    return np.concatenate([np.concatenate(pair, axis=1) for pair in zip(tensors, fill, strict=True)])
