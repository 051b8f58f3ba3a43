"""Negatives of a ranker out of what retrieval hands it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from dmf_keras.models.inputs import CANDIDATE_CONTENT_ROW, CANDIDATE_INDEX, HISTORY_CONTENT_ROW, POSITIVES
from tfx_pipeline.evaluation.catalogue_scoring import embedding_rows, item_vectors
from tfx_pipeline.training.item_statistics import item_statistics
from tfx_pipeline.transform.dataset import untuned

if TYPE_CHECKING:
    from dmf_keras.models.two_towers.model import TwoTowers
    from tfx_pipeline.training.model_training import TrainingData

Batch = tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]

# Batches that wait for the trainer.
_READ_AHEAD = 2


class RetrievedNegatives:
    """Adds items to each request of a batch that retrieval scores high for it.

    A ranker that saw what a log shows, or items drawn at random, has not learnt to tell apart what retrieval hands it.
    To search the whole catalogue for each request takes long. So for each batch a part of it is drawn: so much that the
    `count` best of the part are spread over about the first `candidates` of the whole.

    Drawn are items that have a click in train. One without may be new, and what its content says would be held against
    it. What the request itself clicked, and its history, is none. An item that its user clicks in another request can
    be.

    Args:
        tower: trained on the train split.
        data: of the ranker: catalogue, transform, train split.
        count: negatives of each request, at least 1.
        candidates: that retrieval hands to the ranker.
        seed: of the draws.

    Attributes:
        drawn: items of the catalogue that are drawn for each batch.
    """

    def __init__(self, tower: TwoTowers, data: TrainingData, *, count: int, candidates: int, seed: int):
        catalogue = list(data.content.item_ids)
        index = embedding_rows(data.transform, catalogue)
        positives = item_statistics([POSITIVES], data.files["train"], data.tft_output, data.content)[POSITIVES][1:]
        # A batch draws neighbours in this order: as random as any others, and quick in a large catalogue.
        clicked = np.random.default_rng(seed).permutation(np.flatnonzero(positives)).astype(np.int32)
        self._tower, self._count, self._seed, self._items = tower, count, seed, len(catalogue)
        self._vectors = tf.constant(item_vectors(tower, index)[clicked])
        # In the same order: content rows, and rows of the embedding.
        self._rows, self._index = tf.constant(clicked + 1), tf.constant(index[clicked])
        self.drawn = min(len(clicked), max(count, round(len(clicked) * count / min(candidates, len(catalogue)))))

    def added_to(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        """The batches of `request_batches`, each request with `count` more candidates at the end, without a click.

        A place has weight 0 where fewer items are left. The draws differ between epochs, and are the same in every run.
        """
        draws = tf.data.Dataset.random(seed=self._seed, rerandomize_each_iteration=True)
        seeded = tf.data.Dataset.zip(batches, draws, draws.skip(1))
        cardinality = tf.data.experimental.assert_cardinality(batches.cardinality().numpy())

        @tf.autograph.experimental.do_not_convert
        def add(batch: Batch, *seeds: tf.Tensor) -> Batch:
            inputs, labels, weights = batch
            places, there = self._found(inputs, labels, tf.stack(seeds))
            further = {CANDIDATE_INDEX: self._index, CANDIDATE_CONTENT_ROW: self._rows}
            added = {name: tf.concat([inputs[name], tf.gather(own, places)], 1) for name, own in further.items()}
            unclicked = tf.zeros(tf.concat([tf.shape(places), tf.shape(labels)[2:]], 0))
            return (
                inputs | added,
                tf.concat([labels, unclicked], 1),
                tf.concat([weights, tf.cast(there, tf.float32)], 1),
            )

        return untuned(seeded.map(add).apply(cardinality).prefetch(_READ_AHEAD))

    def _found(
        self, inputs: Mapping[str, tf.Tensor], labels: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Places among the items with a click int32 [B, count], and whether an item is there.

        Args:
            inputs: of the batch.
            labels: float32 [B, N] or, of several objectives, [B, N, T].
            seed: int64 [2].
        """
        main = labels if labels.shape.rank == 2 else labels[..., 0]
        own = tf.concat([tf.where(main > 0, inputs[CANDIDATE_CONTENT_ROW], 0), inputs[HISTORY_CONTENT_ROW]], 1)
        start = tf.random.stateless_uniform([], seed, 0, len(self._rows), tf.int32)
        drawn = (start + tf.range(self.drawn)) % len(self._rows)
        scores = tf.matmul(self._tower.user_tower(inputs), tf.gather(self._vectors, drawn), transpose_b=True)
        # By content row the place among what is drawn, -1 of what is not.
        place = tf.tensor_scatter_nd_update(
            tf.fill([self._items + 1], -1), tf.gather(self._rows, drawn)[:, None], tf.range(self.drawn)
        )
        column = tf.gather(place, own)
        cells = tf.where(column >= 0)
        cells = tf.stack([tf.cast(cells[:, 0], tf.int32), tf.gather_nd(column, cells)], 1)
        scores = tf.tensor_scatter_nd_update(scores, cells, tf.fill(tf.shape(cells)[:1], -np.inf))
        best, columns = tf.math.top_k(scores, min(self._count, self.drawn), sorted=False)
        return tf.gather(drawn, columns), best > -np.inf
