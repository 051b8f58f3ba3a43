"""A trained two-tower model as a stage of what is exported."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras

from serving.export.retrieval import CatalogueIndex, RetrievalStage
from tfx_pipeline.data.content.table import ItemContentTable
from tfx_pipeline.evaluation.catalogue_scoring import embedding_rows, item_vectors
from tfx_pipeline.files import artifact_files
from tfx_pipeline.files.addresses import Address, join
from tfx_pipeline.transform.request_transform import RequestTransform

if TYPE_CHECKING:
    from dmf_keras.models.two_towers.model import TwoTowers


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
