"""The loss of retrieval: a softmax over what other requests clicked and over draws from the catalogue.

The loss is that of TensorFlow Recommenders, a layer of Keras 2 (`tf_keras`) without weights. It is called as a function
on tensors: nothing of it is a part of the Keras 3 model, saved with it or needed by who loads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from dmf_keras.models.inputs import CANDIDATE_CONTENT_ROW, CANDIDATE_INDEX
from tfx_pipeline.config.stages import Retrieval
from tfx_pipeline.errors import ModelError

if TYPE_CHECKING:
    from dmf_keras.models.two_towers.model import TwoTowers


@dataclass(frozen=True, eq=False)
class Catalogue:
    """The items there are, by content row less 1.

    Attributes:
        index: int32 [I], rows of the item embedding.
        positives: int64 [I], clicks of each in the train split.
    """

    index: np.ndarray
    positives: np.ndarray

    @property
    def items(self) -> int:
        """I."""
        return len(self.index)


class RetrievalTask(keras.Model):
    """A `TwoTowers` that learns to tell what a request clicked from the rest of the catalogue.

    Of a batch with P clicks and M draws the logits of each click are [P + M]: user vector by the vectors of all clicks
    and all draws, less the logarithm of how probable each is among them (Yi et al. 2019; mixed with draws from the
    catalogue as in Yang et al. 2020, so that items with few clicks learn too). The same item as the click, and other
    clicks of the same request, are no negatives.

    Clicks on items that the catalogue lacks are left out: no list can have them.

    Args:
        tower: not trained yet.
        catalogue: draws come from its items that have a click; there is at least one.
        settings: which negatives there are.
        seed: of the draws.

    Raises:
        ModelError: TensorFlow Recommenders cannot be imported.
    """

    def __init__(self, tower: TwoTowers, catalogue: Catalogue, settings: Retrieval, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tower = tower
        self._settings = settings
        self._index = tf.constant(catalogue.index, tf.int32)
        # An item that nobody clicked may be new: drawn again and again and never clicked, its content would be held
        # against it, and against that of items to come.
        self._clicked = tf.constant(np.flatnonzero(catalogue.positives) + 1, tf.int32)
        self._frequency = tf.constant(catalogue.positives / catalogue.positives.sum(), tf.float32)
        self._draws, self._items = settings.random_negatives, int(np.count_nonzero(catalogue.positives))
        self._generator = keras.random.SeedGenerator(seed)
        self._task = _softmax(settings.hard_negatives)

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> dict[str, tf.Tensor]:
        """`users` float32 [B, D] and `items` float32 [B, N, D]."""
        return {"users": self.tower.user_tower(inputs, training), "items": self.tower.item_tower(inputs, training)}

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> tf.Tensor:
        """The mean loss of the batch's clicks, and the penalties of the towers."""
        rows = tf.cast(x[CANDIDATE_CONTENT_ROW], tf.int32)
        known = (rows > 0) & (sample_weight > 0)
        clicked = tf.where(known & (y > 0))
        request, clicks = tf.cast(clicked[:, 0], tf.int32), tf.gather_nd(rows, clicked)
        drawn = tf.gather(self._clicked, keras.random.randint((self._draws,), 0, self._items, seed=self._generator))
        columns = tf.concat([clicks, drawn], 0)
        vectors = tf.concat([tf.gather_nd(y_pred["items"], clicked), self._vectors(drawn, training)], 0)
        count = tf.cast(tf.shape(clicks)[0], tf.float32)
        weights = tf.gather_nd(sample_weight, clicked)
        expected = count * tf.gather(self._frequency, columns - 1) + self._draws / self._items
        mask = _other_clicks(request, tf.shape(columns)[0])
        if self._settings.shown_negatives:
            shown = tf.where(known & (y <= 0))
            columns = tf.concat([columns, tf.gather_nd(rows, shown)], 0)
            vectors = tf.concat([vectors, tf.gather_nd(y_pred["items"], shown)], 0)
            # Of a request these are all there are, and not a draw.
            expected = tf.concat([expected, tf.ones(tf.shape(shown)[0])], 0)
            own = request[:, None] == tf.cast(shown[:, 0], tf.int32)[None]
            mask = tf.concat([mask, own], 1)
        loss = self._task(
            tf.gather(y_pred["users"], request),
            vectors,
            sample_weight=weights,
            # One factor for all columns changes no softmax; the task takes probabilities, and none below 1e-6.
            candidate_sampling_probability=expected / tf.reduce_max(expected),
            candidate_ids=columns,
            score_mask=mask,
            compute_metrics=False,
        )
        return tf.math.divide_no_nan(loss, tf.reduce_sum(weights)) + sum(self.losses, tf.zeros(()))

    def _vectors(self, rows: tf.Tensor, training: bool) -> tf.Tensor:
        """Item vectors [M, D] of content rows [M], whose candidate columns are missing values."""
        inputs = {CANDIDATE_INDEX: tf.gather(self._index, rows - 1)[None], CANDIDATE_CONTENT_ROW: rows[None]}
        return self.tower.item_tower(inputs, training)[0]

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """The loss alone: recall is measured after each epoch."""
        found: dict[str, Any] = self.get_metrics_result()
        return found


def _other_clicks(request: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """bool [P, columns], whether a column may count for a click: not another click of its request.

    Args:
        request: int [P], of each click; the first P columns are the clicks themselves.
        columns: how many there are.
    """
    same = (request[:, None] == request[None]) & ~tf.eye(tf.shape(request)[0], dtype=tf.bool)
    return tf.pad(~same, [[0, 0], [0, columns - tf.shape(request)[0]]], constant_values=True)


def _softmax(hard_negatives: int | None) -> Any:
    """TensorFlow Recommenders' task, which removes accidental hits and corrects for how probable a negative is."""
    # Imported late: it takes a second, and only who trains retrieval needs it.
    try:
        import tensorflow_recommenders as tfrs
    except ImportError as error:
        raise ModelError(
            f"TensorFlow Recommenders cannot be imported, which trains retrieval: {str(error).splitlines()[0]}; set "
            "TF_USE_LEGACY_KERAS=1 before TensorFlow is imported, as the command dmf does"
        ) from error
    task = tfrs.tasks.Retrieval(num_hard_negatives=hard_negatives, remove_accidental_hits=True)
    # It is written for AutoGraph, which Keras 3 leaves out of its training step.
    return tf.function(task, reduce_retracing=True)
