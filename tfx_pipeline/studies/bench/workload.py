"""Synthetic requests and catalogues: the sizes are what a measurement depends on, not the values."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from dmf_keras.models import ItemColumnSpec, ModalitySpec, RankingSchema, build_model
from dmf_keras.models.inputs import (
    CANDIDATE_CONTENT_ROW,
    CANDIDATE_INDEX,
    HISTORY_CONTENT_ROW,
    HISTORY_INDEX,
    ITEM_STATISTICS,
    USER_INDEX,
)
from dmf_keras.models.ranking_model import RankingModel
from tfx_pipeline.studies.bench.variant import CANDIDATE_COLUMNS, HISTORIES, ITEM_COLUMNS

if TYPE_CHECKING:
    from tfx_pipeline.config.values import Params

CONTENT_WIDTH = 64
# Of each level of semantic ids.
CODES = 256
_SEED = 0


# What a shop knows of an item: names of one kind and of several, and a number.
COLUMNS_OF_ITEMS = {
    "category": ItemColumnSpec(300),
    "brand": ItemColumnSpec(5_000),
    "seller": ItemColumnSpec(20_000),
    "tags": ItemColumnSpec(1_000, 4),
    "price": ItemColumnSpec(),
}
# What is known of one impression: a label on the item, by its row, and two numbers.
BADGE, BADGES = "badge", 10
COLUMNS_OF_CANDIDATES = ("price_shown", "hours_to_delivery")
FURTHER_HISTORIES = ("buys", "carts")


def schema(*, items: int, users: int, extras: Collection[str] = ()) -> RankingSchema:
    """A catalogue with one modality, text vectors of width 64 stored as float16; row 0 of every table is padding.

    Semantic ids and counts of items are there for the models that read them.

    Args:
        items, users: how many there are.
        extras: of `variant.EXTRAS`.
    """
    of_candidates = CANDIDATE_COLUMNS in extras
    return RankingSchema(
        item_rows=items + 1,
        content_rows=items + 1,
        modalities={"text": ModalitySpec(CONTENT_WIDTH)},
        user_rows=users + 1,
        item_columns=COLUMNS_OF_ITEMS if ITEM_COLUMNS in extras else {},
        candidate_categorical={BADGE: BADGES + 2} if of_candidates else {},
        candidate_numeric=COLUMNS_OF_CANDIDATES if of_candidates else (),
        histories=FURTHER_HISTORIES if HISTORIES in extras else (),
        item_codes=(CODES,) * 3,
        item_statistics=ITEM_STATISTICS,
    )


def model(name: str, params: Params, schema: RankingSchema, dense_dtype: str | None = None) -> RankingModel:
    """A model of the registry with random weights and random content; `dense_dtype` as in `build_model`."""
    built = build_model(name, params, schema, seed=_SEED, dense_dtype=dense_dtype)
    rng = np.random.default_rng(_SEED)
    for table in built.content.values():
        table.set_rows(rng.normal(size=(table.rows, table.dim)))
    if schema.item_columns:
        columns = schema.item_columns.items()
        built.item_columns.set_rows({name: _random_column(spec, schema.content_rows, rng) for name, spec in columns})
    if (semantic_ids := getattr(built, "semantic_ids", None)) is not None:
        semantic_ids.set_rows(rng.integers(1, CODES + 1, (semantic_ids.rows, len(semantic_ids.sizes))))
    if (statistics := getattr(built, "item_statistics", None)) is not None:
        statistics.set_rows({name: rng.integers(0, 1000, statistics.rows) for name in statistics.names})
    return built


def _random_column(spec: ItemColumnSpec, rows: int, rng: np.random.Generator) -> np.ndarray:
    if spec.rows is None:
        return rng.normal(size=rows)
    # Of columns of several names, items have from none to all that are kept.
    count = rng.integers(0 if spec.width > 1 else 1, spec.width + 1, (rows, 1))
    return rng.integers(1, spec.rows, (rows, spec.width)) * (np.arange(spec.width) < count)


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
