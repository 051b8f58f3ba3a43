"""Retrievers by name, and how often items stand in train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.config.stages import Approximate
from tfx_pipeline.evaluation import slices
from tfx_pipeline.evaluation.retrieval.co_occurrence import CoOccurrence
from tfx_pipeline.evaluation.retrieval.content_neighbours import ContentNeighbours
from tfx_pipeline.evaluation.retrieval.popularity import Popularity
from tfx_pipeline.evaluation.retrieval.retriever import Retriever
from tfx_pipeline.evaluation.retrieval.tower_retriever import ApproximateTowerRetriever, TowerRetriever
from tfx_pipeline.evaluation.retrieval.train_items import TrainItems
from tfx_pipeline.studies.retrieval.contenders import APPROXIMATE, AT, CO_OCCURRENCE, CONTENT, POPULARITY
from tfx_pipeline.studies.retrieval.entries import ITEM_POSITIVES
from tfx_pipeline.studies.retrieval.trained_models import load_two_towers
from tfx_pipeline.training.trial_data import TrialData


@dataclass(frozen=True, eq=False)
class ItemCounts:
    """How often each item of the catalogue stands in train.

    Attributes:
        frequency: what items are counted by for slices and head.
        counts: by slice column, int64 [items].
        is_head: bool [items], which items are of the head.
    """

    frequency: Literal["impressions", "positives"]
    counts: Mapping[str, np.ndarray]
    is_head: np.ndarray

    @classmethod
    def of(cls, config: PipelineConfig, data: TrialData, train: TrainItems) -> ItemCounts:
        """Counts them.

        What is drawn says nothing of an item: of positives alone impressions are mostly negatives that were drawn.
        """
        of_positives = config.negatives is not None
        frequency = train.positives if of_positives else _impressions(data)
        counts = {slices.ITEM_FREQUENCY: frequency}
        counts |= {} if of_positives else {ITEM_POSITIVES: train.positives}
        is_head = np.asarray(slices.item_frequency(frequency, config.evaluation) == "head")
        return cls("positives" if of_positives else "impressions", counts, is_head)


def make_retriever(name: str, config: PipelineConfig, data: TrialData, train: TrainItems) -> Retriever:
    """The retriever of a name that `check_names` lets pass.

    Raises:
        ModelError: two towers are asked for, and the pipeline has trained none.
    """
    training_data = data.training_data
    kind, _, modality = name.partition(AT)
    if kind == POPULARITY:
        return Popularity(train)
    if kind == CO_OCCURRENCE:
        return CoOccurrence(train)
    if kind == CONTENT:
        return ContentNeighbours(training_data.content, train, modality or None)
    towers, item_ids = load_two_towers(config), training_data.content.item_ids
    if name == APPROXIMATE:
        options = None if config.stages is None else config.stages.retrieval.approximate
        return ApproximateTowerRetriever(towers, training_data.transform, item_ids, options or Approximate())
    return TowerRetriever(towers, training_data.transform, item_ids)


def _impressions(data: TrialData) -> np.ndarray:
    """Of each item of the catalogue in train."""
    ids = np.array([item.encode() for item in data.training_data.content.item_ids], object)
    return data.facts.look_up(ids)[0]
