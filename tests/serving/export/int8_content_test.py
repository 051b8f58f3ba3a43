"""Content tables in int8: a quarter of the size, and scores that hardly move."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dmf_keras.models import ModalitySpec
from serving import contract
from serving.export.metadata import saved_model_sizes
from serving.export.servable import Servable
from serving.export.signatures import export_model
from tests.serving.export.small_models import ITEMS, SCHEMA, VocabularyTransform, raw_requests, small_model

WIDTH = 512


def _scores(name: str, dtype: str, directory) -> np.ndarray:
    """Of every item for every request, by an exported model whose tables are of `dtype`."""
    modalities = {"text": ModalitySpec(WIDTH, dtype), "image": ModalitySpec(WIDTH, dtype)}
    model = small_model(name, dataclasses.replace(SCHEMA, modalities=modalities))
    # Few directions with a little noise, so that cosines lie anywhere from -1 to 1, in every bucket.
    rng = np.random.default_rng(0)
    for layer in model.content.values():
        rows = rng.normal(size=(layer.rows, 4)) @ rng.normal(size=(4, WIDTH))
        layer.set_rows(rows + 0.3 * rng.normal(size=rows.shape))
    export_model(model, VocabularyTransform(), directory, name=name, max_history=50)
    raw = raw_requests()
    raw[contract.CANDIDATE_ITEM_ID] = np.tile(np.array(ITEMS, object), (len(raw[contract.USER_ID]), 1))
    with Servable(directory, optimised=False) as servable:
        return servable.run(contract.RANK, raw)[contract.SCORE]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "moved", "shares"),
    [
        # A score moves where a cosine crosses the edge of a bucket, by what the two buckets differ; these weights are
        # random, and buckets differ more than in a trained model.
        ("dmf_paper", 1e-4, {"float16": 0.02, "int8": 0.1}),
        # Vectors are in the head and in the items too: every score moves by the rounding of its vectors.
        ("dmf", 5e-3, {"float16": 0.02, "int8": 0.1}),
    ],
)
def test_scores_move_little_and_tables_shrink(tmp_path, name, moved, shares):
    scores = {dtype: _scores(name, dtype, tmp_path / dtype) for dtype in ("float32", *shares)}
    spread = np.ptp(scores["float32"], axis=1).max()
    assert spread > 0.3, "the bounds below mean something only if scores differ"
    for dtype, share in shares.items():
        difference = np.abs(scores[dtype] - scores["float32"])
        assert difference.max() < 0.1, dtype
        assert (difference > moved).mean() < share, dtype
    variables = {dtype: saved_model_sizes(tmp_path / dtype)["variables"] for dtype in scores}
    table = 2 * (len(ITEMS) + 1) * WIDTH
    assert variables["float32"] - variables["float16"] == pytest.approx(2 * table, rel=0.02)
    assert variables["float32"] - variables["int8"] == pytest.approx(3 * table, rel=0.02)
