"""Items by a model of two towers, exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf
from typing_extensions import override

from tfx_pipeline.evaluation.catalogue_scoring import ItemTower, embedding_rows, item_vectors
from tfx_pipeline.evaluation.requests import Requests
from tfx_pipeline.evaluation.retrieval.retriever import ExactRetriever
from tfx_pipeline.transform.request_transform import RequestTransform


class Towers(ItemTower, Protocol):
    """A model whose score of a user and an item is the dot product of their vectors."""

    def user_tower(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """float32 [B, D] of the inputs of users."""
        ...


class TowerRetriever(ExactRetriever):
    """Retrieves by the dot product of vectors; those of items are made once.

    Args:
        model: trained.
        transform: requests and items to its inputs.
        catalogue: ids of all items.
    """

    def __init__(self, model: Towers, transform: RequestTransform, catalogue: Sequence[str]):
        super().__init__(len(catalogue))

        @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string)])
        def of_users(serialized: tf.Tensor) -> tf.Tensor:
            return model.user_tower(transform.examples(serialized))

        self._vectors = item_vectors(model, embedding_rows(transform, catalogue))
        self._of_users = of_users

    @override
    def scores(self, requests: Requests) -> np.ndarray:
        users: np.ndarray = self._of_users(tf.constant(requests.serialized)).numpy()
        found: np.ndarray = users @ self._vectors.T
        return found
