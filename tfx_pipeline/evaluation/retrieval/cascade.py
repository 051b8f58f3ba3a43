"""A ranker after retrieval: a user is encoded once a request, and what was retrieved alone is scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from dmf_keras.models.ranking_model import RankingModel
from serving.page_order import page_scores
from tfx_pipeline.errors import ModelError
from tfx_pipeline.evaluation.catalogue_scoring import catalogue_blocks, first_probabilities, user_encoder
from tfx_pipeline.evaluation.requests import Requests
from tfx_pipeline.evaluation.retrieval.retriever import NOTHING, Retrieved
from tfx_pipeline.transform.request_transform import RequestTransform

# Items whose inputs are made at a time, and pairs of a request and an item that are scored at a time.
_BLOCK, _PAIRS = 8192, 16_384


class Ranker:
    """Scores retrieved items.

    Args:
        model: trained. Its probabilities rank, of several objectives those of the first.
        transform: requests and items to its inputs. Columns of candidates with role bias have their serving value;
            those with role feature are missing.
        catalogue: ids of all items.
    """

    def __init__(self, model: RankingModel, transform: RequestTransform, catalogue: Sequence[str]):
        # The item after the last is padding, for places of a list without an item.
        blocks = catalogue_blocks(model.schema, transform, [*catalogue, ""], _BLOCK)
        items = {name: tf.concat([block[name][0] for block in blocks], axis=0) for name in blocks[0]}
        self._padding = len(catalogue)
        self._encode = user_encoder(model, transform)

        @tf.function(autograph=False, reduce_retracing=True)
        def score(state: dict[str, tf.Tensor], rows: tf.Tensor) -> tf.Tensor:
            return first_probabilities(model, state, {name: tf.gather(value, rows) for name, value in items.items()})

        self._score = score

    def probabilities(self, requests: Requests, rows: np.ndarray) -> np.ndarray:
        """Probabilities of retrieved items.

        Args:
            requests: R of them.
            rows: int32 [R, k], of the catalogue; `NOTHING` at their ends.

        Returns:
            float32 [R, k]; -inf where there is no item.

        Raises:
            ModelError: one is NaN.
        """
        there = rows != NOTHING
        padded = np.where(there, rows, self._padding).astype(np.int32)
        step = max(1, _PAIRS // max(1, rows.shape[1]))
        parts = [
            self._score(
                self._encode(tf.constant(requests.serialized[first : first + step])),
                tf.constant(padded[first : first + step]),
            ).numpy()
            for first in range(0, len(rows), step)
        ]
        found = np.concatenate(parts)
        if np.isnan(found[there]).any():
            raise ModelError("a probability of the ranker is NaN: expected numbers; has its training diverged?")
        return np.where(there, found, -np.inf).astype(np.float32)


class Cascade(NamedTuple):
    """How a ranker stands behind a retriever.

    Attributes:
        candidates: that it is handed.
        weight: of retrieval's score beside the logit of the ranker's, see `serving.page_order`; 0: the ranker alone
            orders.
    """

    candidates: int
    weight: float = 0.0


def ranked(retrieved: Retrieved, probabilities: np.ndarray, cascade: Cascade) -> np.ndarray:
    """Rows of the first items of each list as a page has them, ties in the order of retrieval.

    Args:
        retrieved: R lists of k.
        probabilities: float32 [R, k] of the same items, -inf where there is none.
        cascade: at most k candidates.
    """
    rows, first = retrieved.rows[:, : cascade.candidates], probabilities[:, : cascade.candidates]
    if cascade.weight:
        there = rows != NOTHING
        of_retrieval = np.where(there, retrieved.scores[:, : cascade.candidates], 0)
        both = page_scores(np.where(there, first, 0), of_retrieval.astype(np.float32), cascade.weight)
        first = np.where(there, both, -np.inf)
    order = np.argsort(-first, axis=1, kind="stable")
    found: np.ndarray = np.take_along_axis(rows, order, axis=1)
    return found
