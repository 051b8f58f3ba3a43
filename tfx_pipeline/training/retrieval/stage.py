"""A trained two-tower model as a stage of what is exported."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

import keras
import numpy as np

from dmf_keras.models.ranking_model import RankingModel
from dmf_keras.models.registry import model_class
from serving.export.retrieval import CatalogueIndex, RetrievalStage
from tfx_pipeline.data.content.table import ItemContentTable
from tfx_pipeline.evaluation.catalogue_scoring import embedding_rows, item_vectors
from tfx_pipeline.files import artifact_files
from tfx_pipeline.files.addresses import Address, join
from tfx_pipeline.transform.request_transform import RequestTransform

if TYPE_CHECKING:
    from dmf_keras.models.two_towers.model import TwoTowers


def read_towers(model_run: Address) -> TwoTowers:
    """The model of a finished training.

    Args:
        model_run: of RetrievalTrainer.
    """
    # Keras loads only classes that are imported, and where the training was cached nobody has.
    import_module(model_class("two_towers").partition(":")[0])
    return cast("TwoTowers", keras.models.load_model(join(model_run, artifact_files.TWO_TOWERS)))


def retrieval_stage(
    tower: TwoTowers,
    transform: RequestTransform,
    content: ItemContentTable,
    ranker: RankingModel,
    candidates: int,
    weight: float = 0.0,
) -> RetrievalStage:
    """The stage of a trained tower, to be exported with a ranker.

    Args:
        tower: with the content of the catalogue in its tables.
        transform: item ids to model inputs.
        content: the catalogue.
        ranker: as it is exported.
        candidates: that are retrieved to be ranked.
        weight: of retrieval's score in the order of a page.
    """
    tower = sharing_content(tower, ranker)
    return RetrievalStage(tower, catalogue_index(tower, transform, content), candidates, weight)


def sharing_content(tower: TwoTowers, ranker: RankingModel) -> TwoTowers:
    """An equal tower that looks content up in the ranker's tables, so that a SavedModel of both has them once.

    It is the tower itself where the ranker has other tables or none.
    """
    mine, others = (
        {name: [np.asarray(weight) for weight in layer.weights] for name, layer in model.content.items()}
        for model in (tower, ranker)
    )
    equal = mine.keys() == others.keys() and all(
        len(tables) == len(others[name]) and all(map(np.array_equal, tables, others[name]))
        for name, tables in mine.items()
    )
    if not mine or not equal:
        return tower
    shared = cast("TwoTowers", type(tower).from_config({**tower.get_config(), "content": dict(ranker.content)}))
    of_content = {id(weight) for layer in shared.content.values() for weight in layer.weights}
    for weight, copy in zip(tower.weights, shared.weights, strict=True):
        if id(copy) not in of_content:
            copy.assign(weight)
    return shared


def catalogue_index(tower: TwoTowers, transform: RequestTransform, content: ItemContentTable) -> CatalogueIndex:
    """The vectors of all items of the catalogue, in its order."""
    ids = content.catalogue_ids
    return CatalogueIndex(ids, item_vectors(tower, embedding_rows(transform, ids)))
