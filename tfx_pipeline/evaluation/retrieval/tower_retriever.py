"""Items by a model of two towers, exactly or by an approximate index."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf
from typing_extensions import override

from serving.approximate_index import ApproximateIndex, MissingLibrary
from serving.export.approximate_index import IndexOptions, write_index
from serving.export.retrieval import UserTower
from tfx_pipeline.config.stages import Approximate
from tfx_pipeline.errors import ModelError
from tfx_pipeline.evaluation.catalogue_scoring import ItemTower, embedding_rows, item_vectors, user_vectors
from tfx_pipeline.evaluation.requests import Requests
from tfx_pipeline.evaluation.retrieval.retriever import NOTHING, ExactRetriever, Retrieved
from tfx_pipeline.transform.request_transform import RequestTransform


class Towers(UserTower, ItemTower, Protocol):
    """A model whose score of a user and an item is the dot product of their vectors."""


def index_options(approximate: Approximate) -> IndexOptions:
    """What of the section is of the graph."""
    return IndexOptions(approximate.connectivity, approximate.expansion_add, approximate.expansion_search)


class TowerRetriever(ExactRetriever):
    """Retrieves by the dot product of vectors; those of items are made once.

    Args:
        model: trained.
        transform: requests and items to its inputs.
        catalogue: ids of all items.
    """

    def __init__(self, model: Towers, transform: RequestTransform, catalogue: Sequence[str]):
        super().__init__(len(catalogue))
        self.vectors = item_vectors(model, embedding_rows(transform, catalogue))
        self._of_users = user_vectors(model, transform)

    def users(self, requests: Requests) -> np.ndarray:
        """Vectors of users float32 [R, D]."""
        found: np.ndarray = self._of_users(tf.constant(requests.serialized)).numpy()
        return found

    @override
    def scores(self, requests: Requests) -> np.ndarray:
        found: np.ndarray = self.users(requests) @ self.vectors.T
        return found


class ApproximateTowerRetriever(TowerRetriever):
    """The same, by an index that is made once and does not look at every item.

    Args:
        model, transform, catalogue: as of the base class.
        approximate: of the index.

    Raises:
        ModelError: usearch is not installed.
    """

    def __init__(self, model: Towers, transform: RequestTransform, catalogue: Sequence[str], approximate: Approximate):
        super().__init__(model, transform, catalogue)
        self._catalogue = list(catalogue)
        self._rows = {item: row for row, item in enumerate(catalogue)}
        options = index_options(approximate)
        try:
            # What is mapped stays there when its folder has gone.
            with tempfile.TemporaryDirectory(prefix="dmf-index-") as folder:
                write_index(folder, self._catalogue, self.vectors, self.vectors[:1], options=options)
                self._index = ApproximateIndex.load(folder)
        except MissingLibrary as error:
            raise ModelError(f"two_towers@approximate: {error}") from None

    @override
    def retrieve(self, requests: Requests, left_out: Sequence[np.ndarray], k: int) -> Retrieved:
        excluded = [[self._catalogue[row] for row in rows] for rows in left_out]
        ids, scores = self._index.search(self.users(requests), k, excluded)
        rows = np.array([[self._rows.get(item, NOTHING) for item in row] for row in ids.tolist()], np.int32)
        return Retrieved(rows.reshape(scores.shape), scores)
