"""How much of what eval clicked a two-tower model finds, after each epoch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from dmf_keras.models.inputs import CANDIDATE_CONTENT_ROW, HISTORY_CONTENT_ROW
from tfx_pipeline.config.stages import JUDGED_AT, RECALL
from tfx_pipeline.errors import ModelError
from tfx_pipeline.evaluation.catalogue_scoring import item_vectors
from tfx_pipeline.training.callbacks import BestEpoch, Logs

if TYPE_CHECKING:
    from dmf_keras.models.two_towers.model import TwoTowers


def recall(tower: TwoTowers, index: np.ndarray, batches: Iterable[Any], k: int) -> float:
    """Share of the clicks whose item is among the k with the largest dot products; NaN where nothing was clicked.

    Items of the request's history stand in no list, unless they are what was clicked.

    Args:
        tower: trained.
        index: see `item_vectors`.
        batches: of (model inputs, labels [B, N], weights [B, N]).
        k: at least 1.
    """
    vectors = tf.constant(item_vectors(tower, index))

    @tf.function(autograph=False, reduce_retracing=True)
    def found(inputs: Mapping[str, tf.Tensor], labels: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        rows = tf.cast(inputs[CANDIDATE_CONTENT_ROW], tf.int32)
        clicked = tf.where((rows > 0) & (labels > 0) & (weights > 0))
        users = tf.gather(tower.user_tower(inputs), clicked[:, 0])
        scores = tf.matmul(users, vectors, transpose_b=True)
        clicks = tf.gather_nd(rows, clicked)
        own = tf.gather(scores, clicks - 1, axis=1, batch_dims=1)[:, None]
        history = tf.gather(tf.cast(inputs[HISTORY_CONTENT_ROW], tf.int32), clicked[:, 0])
        above = tf.math.count_nonzero(scores > own, axis=1)
        of_history = tf.gather(scores, tf.maximum(history - 1, 0), axis=1, batch_dims=1)
        # An item may stand in a history more than once.
        once = _first_of_each(history) & (history > 0)
        above -= tf.math.count_nonzero((of_history > own) & once, axis=1)
        return tf.math.count_nonzero(above < k), tf.shape(clicks)[0]

    hits = clicks = 0
    for inputs, labels, weights in batches:
        of_batch, count = found(inputs, labels, weights)
        hits, clicks = hits + int(of_batch), clicks + int(count)
    return hits / clicks if clicks else float("nan")


def _first_of_each(rows: tf.Tensor) -> tf.Tensor:
    """bool [P, L], whether a row stands in no earlier place."""
    order = tf.argsort(rows, axis=1, stable=True)
    ordered = tf.gather(rows, order, axis=1, batch_dims=1)
    first = tf.concat([tf.ones_like(ordered[:, :1], tf.bool), ordered[:, 1:] != ordered[:, :-1]], 1)
    return tf.gather(first, tf.argsort(order, axis=1), axis=1, batch_dims=1)


class RecallOnEval(keras.callbacks.Callback):
    """Adds `val_recall@100` to an epoch's metrics; to be named before those that read them.

    Args:
        index: see `item_vectors`.
        batches: of eval, see `recall`.
    """

    def __init__(self, index: np.ndarray, batches: Iterable[Any]):
        super().__init__()
        self._index, self._batches = index, batches

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Measures.

        Raises:
            ModelError: nothing was clicked in eval that the catalogue has.
        """
        found = recall(self.model.tower, self._index, self._batches, JUDGED_AT)
        if math.isnan(found):
            raise ModelError(
                "stages.retrieval: the eval split has no click on an item of the catalogue (data.items), by which "
                "epochs are judged; look at the report of ingestion, or leave out stages"
            )
        if isinstance(logs, dict):
            logs[RECALL] = found


class BestRecall(BestEpoch):
    """Early stopping on the recall of eval."""

    def judged(self, epoch: Mapping[str, float]) -> float:
        """See the base class."""
        return epoch.get(RECALL, float("nan"))

    def has_learned(self) -> bool:
        """Whether anything was found."""
        return any(self.judged(epoch) > 0 for epoch in self.history)
