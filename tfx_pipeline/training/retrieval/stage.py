"""A trained two-tower model as a stage of what is exported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np
import tensorflow as tf

from dmf_keras.models.inputs import CANDIDATE_CONTENT_ROW, CANDIDATE_INDEX
from serving.export.retrieval import CatalogueIndex, RetrievalStage
from tfx_pipeline.data.content.table import ItemContentTable
from tfx_pipeline.data.examples import raw_features
from tfx_pipeline.files import artifact_files
from tfx_pipeline.files.addresses import Address, join
from tfx_pipeline.transform.request_transform import RequestTransform

if TYPE_CHECKING:
    from dmf_keras.models.two_towers.model import TwoTowers

# Items that are looked up, and encoded, at a time.
_BLOCK = 4096


def read_stage(
    model_run: Address, transform: RequestTransform, content: ItemContentTable, candidates: int
) -> RetrievalStage:
    """The stage of a finished training.

    Args:
        model_run: of RetrievalTrainer.
        transform: item ids to model inputs.
        content: the catalogue.
        candidates: that are retrieved to be ranked.
    """
    tower = keras.models.load_model(join(model_run, artifact_files.TWO_TOWERS))
    return RetrievalStage(tower, catalogue_index(tower, transform, content), candidates)


def catalogue_index(tower: TwoTowers, transform: RequestTransform, content: ItemContentTable) -> CatalogueIndex:
    """The vectors of all items of the catalogue, in its order."""
    ids = list(content.item_ids)
    return CatalogueIndex(ids, item_vectors(tower, embedding_rows(transform, ids)))


def embedding_rows(transform: RequestTransform, item_ids: Sequence[str]) -> np.ndarray:
    """Rows of the item embedding int32 [I] of the catalogue's items; those that are new to it are out of vocabulary."""
    found = []
    for first in range(0, len(item_ids), _BLOCK):
        ids = list(item_ids[first : first + _BLOCK])
        raw = {raw_features.CANDIDATE_ITEM_ID: tf.constant([ids])}
        for name, kind in transform.candidate_inputs.items():
            raw[name] = tf.fill([1, len(ids)], "" if kind == "string" else np.float32("nan"))
        found.append(transform.candidates(raw)[CANDIDATE_INDEX].numpy()[0])
    return np.concatenate(found).astype(np.int32)


def item_vectors(tower: TwoTowers, index: np.ndarray) -> np.ndarray:
    """Vectors float32 [I, D] of the catalogue's items, by content row less 1.

    Args:
        tower: trained or not.
        index: int32 [I], their rows of the item embedding.
    """
    encode = tf.function(tower.item_tower, autograph=False, reduce_retracing=True)
    blocks = []
    for first in range(0, len(index), _BLOCK):
        rows = np.arange(first, min(first + _BLOCK, len(index)), dtype=np.int32)
        inputs = {CANDIDATE_INDEX: tf.constant(index[rows][None]), CANDIDATE_CONTENT_ROW: tf.constant(rows[None] + 1)}
        blocks.append(encode(inputs).numpy()[0])
    return np.concatenate(blocks)
