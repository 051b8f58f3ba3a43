"""Synthetic requests and catalogues: the sizes are what a measurement depends on, not the values."""

from __future__ import annotations

import numpy as np

from dmf_keras.models import ModalitySpec, RankingSchema, build_model
from dmf_keras.models.inputs import (
    CANDIDATE_CONTENT_ROW,
    CANDIDATE_INDEX,
    HISTORY_CONTENT_ROW,
    HISTORY_INDEX,
    USER_INDEX,
)
from dmf_keras.models.ranking_model import RankingModel
from tfx_pipeline.config.values import Params

CONTENT_WIDTH = 64
_SEED = 0


def schema(*, items: int, users: int) -> RankingSchema:
    """A catalogue with one modality, text vectors of width 64 stored as float16; row 0 of every table is padding."""
    return RankingSchema(
        item_rows=items + 1,
        content_rows=items + 1,
        modalities={"text": ModalitySpec(CONTENT_WIDTH)},
        user_rows=users + 1,
    )


def model(name: str, params: Params, schema: RankingSchema) -> RankingModel:
    """A model of the registry with random weights and random content."""
    built = build_model(name, params, schema, seed=_SEED)
    rng = np.random.default_rng(_SEED)
    for table in built.content.values():
        table.set_rows(rng.normal(size=(table.rows, table.dim)))
    return built


def requests(schema: RankingSchema, *, batch: int, candidates: int, history: int) -> dict[str, np.ndarray]:
    """Model inputs of `batch` requests without padding: every history has `history` items."""
    rng = np.random.default_rng(_SEED)
    history_items = rng.integers(1, schema.item_rows, (batch, history), np.int32)
    candidate_items = rng.integers(1, schema.item_rows, (batch, candidates), np.int32)
    return {
        USER_INDEX: rng.integers(1, schema.user_rows or 2, batch, np.int32),
        HISTORY_INDEX: history_items,
        HISTORY_CONTENT_ROW: history_items,
        CANDIDATE_INDEX: candidate_items,
        CANDIDATE_CONTENT_ROW: candidate_items,
    }
