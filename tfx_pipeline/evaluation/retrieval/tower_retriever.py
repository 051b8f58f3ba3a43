"""Items by a model of two towers, exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf
from typing_extensions import override

from dmf_keras.models.inputs import RankingSchema
from tfx_pipeline.evaluation.catalogue_scoring import catalogue_blocks
from tfx_pipeline.evaluation.requests import Requests
from tfx_pipeline.evaluation.retrieval.retriever import ExactRetriever
from tfx_pipeline.transform.request_transform import RequestTransform

# Items that are encoded at a time.
_BLOCK = 1024


class Towers(Protocol):
    """A model whose score of a user and an item is the dot product of their vectors."""

    @property
    def schema(self) -> RankingSchema:
        """Sizes and names that come from the data."""
        ...

    def user_tower(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """float32 [B, D] of the inputs of users."""
        ...

    def item_tower(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """float32 [B, N, D] of the inputs of candidates."""
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

        @tf.function(autograph=False)
        def of_items(block: Mapping[str, tf.Tensor]) -> tf.Tensor:
            return model.item_tower(block)

        @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string)])
        def of_users(serialized: tf.Tensor) -> tf.Tensor:
            return model.user_tower(transform.examples(serialized))

        blocks = catalogue_blocks(model.schema, transform, catalogue, _BLOCK)
        self._vectors = np.concatenate([of_items(block).numpy()[0] for block in blocks])[: self.items]
        self._of_users = of_users

    @override
    def scores(self, requests: Requests) -> np.ndarray:
        users: np.ndarray = self._of_users(tf.constant(requests.serialized)).numpy()
        found: np.ndarray = users @ self._vectors.T
        return found
