"""The same items for everybody."""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from tfx_pipeline.evaluation.requests import Requests
from tfx_pipeline.evaluation.retrieval.retriever import ExactRetriever
from tfx_pipeline.evaluation.retrieval.train_items import TrainItems


class Popularity(ExactRetriever):
    """Retrieves the items that have most positives in train.

    Args:
        train: of the train split.
    """

    def __init__(self, train: TrainItems):
        super().__init__(len(train.positives))
        self._scores = train.positives.astype(np.float32)[np.newaxis]

    @override
    def scores(self, requests: Requests) -> np.ndarray:
        return self._scores
