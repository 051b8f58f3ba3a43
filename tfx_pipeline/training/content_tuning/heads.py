"""The projections that fine-tuning trains, and one step of their training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dmf_keras.layers import InfoNCE, UnitProjection
from tfx_pipeline.config.fine_tuning import FineTuning
from tfx_pipeline.data.content.reduction import principal_directions
from tfx_pipeline.training.resumable import Resumable

FUSED = "fused"
"""The level of all modalities together."""
_ITEMS_AT_ONCE = 65_536


class Source:
    """Vectors of a modality before fine-tuning.

    Args:
        vectors: float [items, width], of length 1 where `present`.
        present: bool [items].
    """

    def __init__(self, vectors: np.ndarray, present: np.ndarray):
        self.vectors, self.present = vectors, present

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return int(self.vectors.shape[1])

    def rows(self, items: np.ndarray) -> np.ndarray:
        """float32 [..., width], zeros of items without content."""
        return np.asarray(self.vectors[items].astype(np.float32) * self.present[items][..., None])

    def start(self, dim: int) -> np.ndarray:
        """The `dim` directions [width, dim] that keep the dot products best: what fine-tuning begins with."""
        moment = np.zeros((self.width, self.width))
        for first in range(0, len(self.vectors), _ITEMS_AT_ONCE):
            block = self.rows(np.arange(first, min(first + _ITEMS_AT_ONCE, len(self.vectors))))
            moment += block.T @ block
        return principal_directions(moment / max(1, int(self.present.sum())), min(dim, self.width))[0]

    def projected(self, kernel: np.ndarray) -> np.ndarray:
        """float32 [items, dim] of length 1; zeros of items without content."""
        parts = []
        for first in range(0, len(self.vectors), _ITEMS_AT_ONCE):
            part = self.rows(np.arange(first, min(first + _ITEMS_AT_ONCE, len(self.vectors)))) @ kernel
            length = np.sqrt(np.einsum("nd,nd->n", part, part))[:, None]
            parts.append(np.divide(part, length, out=np.zeros_like(part), where=length > 0))
        return np.concatenate(parts)


class Heads(Resumable):
    """A projection per modality, its slow copy, a queue of what the copies made of earlier batches, and the losses.

    The levels of the loss are the modalities and, where there are several, all of them fused. At each level an anchor
    is to find its click among the other clicks of the batch and of the queue, corrected for popularity; and among what
    was shown beside it, as it is.

    Args:
        sources: by modality, in a fixed order.
        settings: of the configuration.
    """

    def __init__(self, sources: Mapping[str, Source], settings: FineTuning):
        self.names = list(sources)
        self.levels = [*self.names, *([FUSED] if len(self.names) > 1 else [])]
        self._settings = settings
        self._online: list[UnitProjection] = []
        self._slow: list[UnitProjection] = []
        widths = []
        for source in sources.values():
            start = source.start(settings.dim)
            widths.append(start.shape[1])
            for heads in (self._online, self._slow):
                head = UnitProjection(start.shape[1])
                head.build((None, source.width))
                head.kernel.assign(start)
                heads.append(head)
        self._batch_losses = [self._loss() for _ in self.levels]
        self._queue_losses = [self._loss() for _ in self.levels]
        self._shown_losses = [self._loss() for _ in self.levels]
        losses = list(self._batch_losses)
        losses += self._queue_losses if settings.queue else []
        losses += self._shown_losses if settings.hard_negatives else []
        layers: list[keras.layers.Layer] = [*self._online, *losses]
        self._weights = [weight for layer in layers for weight in layer.trainable_weights]
        self._optimizer = keras.optimizers.Adam(settings.learning_rate)
        self._optimizer.build(self._weights)
        self._queues = [tf.Variable(tf.zeros((settings.queue, width)), trainable=False) for width in widths]

    def _loss(self) -> InfoNCE:
        loss = InfoNCE(self._settings.temperature)
        loss.build()
        return loss

    @property
    def kernels(self) -> list[np.ndarray]:
        """float32 [width, dim] of each modality, as they are now."""
        return [head.kernel.numpy() for head in self._online]

    def _variables(self) -> list[Any]:
        slow = [head.kernel for head in self._slow]
        return [*self._weights, *slow, *self._optimizer.variables, *self._queues]

    @property
    def temperatures(self) -> dict[str, float]:
        """Of the levels, among clicks."""
        found = zip(self.levels, self._batch_losses, strict=True)
        return {level: 1 / float(loss.scale()) for level, loss in found}

    def step(self, *batch: Any) -> float:
        """One update; the loss before it. See `_step` for the arguments."""
        return float(self._step(*batch))

    @tf.function(autograph=False, reduce_retracing=True)
    def _step(
        self,
        anchors: Sequence[tf.Tensor],
        clicked: Sequence[tf.Tensor],
        shown: Sequence[tf.Tensor],
        anchors_there: tf.Tensor,
        clicked_there: tf.Tensor,
        shown_there: tf.Tensor,
        queue_there: tf.Tensor,
        allowed: tf.Tensor,
        shown_allowed: tf.Tensor,
        log_q: tf.Tensor,
        queue_log_q: tf.Tensor,
    ) -> tf.Tensor:
        """One update of the projections, of their slow copies and of the queue.

        Args:
            anchors, clicked: of each modality float32 [B, width].
            shown: of each modality float32 [B, H, width].
            anchors_there, clicked_there: bool [M, B], whether there is content.
            shown_there: bool [M, B, H].
            queue_there: bool [M, K], of the queue as it is before this step.
            allowed: bool [B, B + K], negatives of each anchor among clicks of the batch and of the queue.
            shown_allowed: bool [B, H].
            log_q: float32 [B], of the clicks.
            queue_log_q: float32 [K].

        Returns:
            The sum over levels of the mean loss.
        """
        with tf.GradientTape() as tape:
            encoded = [
                [head(part) for head, part in zip(self._online, parts, strict=True)]
                for parts in (anchors, clicked, shown)
            ]
            slow = [head(part) for head, part in zip(self._slow, clicked, strict=True)]
            there = (anchors_there, clicked_there, shown_there, clicked_there, queue_there)
            parts = [*encoded, slow, self._queues]
            total = tf.constant(0.0)
            for place in range(len(self.levels)):
                total += self._level(place, parts, there, allowed, shown_allowed, log_q, queue_log_q)
        values = [weight.value for weight in self._weights]
        # What is shown beside a click is not drawn: its loss has no use for popularity.
        gradients = tape.gradient(total, values, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        self._optimizer.apply(gradients, self._weights)
        momentum = self._settings.momentum
        for online, copy, queue, part in zip(self._online, self._slow, self._queues, slow, strict=True):
            queue.assign(tf.concat([part, queue], axis=0)[: self._settings.queue])
            copy.kernel.assign(momentum * copy.kernel + (1 - momentum) * online.kernel)
        return total

    def _level(
        self,
        place: int,
        encoded: Sequence[Sequence[tf.Tensor]],
        there: Sequence[tf.Tensor],
        allowed: tf.Tensor,
        shown_allowed: tf.Tensor,
        log_q: tf.Tensor,
        queue_log_q: tf.Tensor,
    ) -> tf.Tensor:
        """Mean loss of a level, over the pairs that have its content on both sides."""
        (anchors, has_anchor), (clicked, has_clicked), (shown, has_shown), (slow, _), (queue, in_queue) = (
            self._at_level(place, parts, known) for parts, known in zip(encoded, there, strict=True)
        )
        batch = tf.shape(log_q)[0]
        pair = has_anchor & has_clicked
        in_batch = allowed[:, :batch] & has_clicked[tf.newaxis]
        loss = self._batch_losses[place](anchors, clicked, clicked, in_batch, log_q, log_q)
        if self._settings.queue:
            # Beside the queue the click comes from the slow copy too. Were it from the other one, turning that one away
            # from all that is slow would look like learning.
            earlier = allowed[:, batch:] & in_queue[tf.newaxis]
            loss += self._queue_losses[place](anchors, slow, queue, earlier, log_q, queue_log_q)
        if self._settings.hard_negatives:
            loss += self._shown_losses[place](anchors, clicked, shown, shown_allowed & has_shown)
        weights = tf.cast(pair, tf.float32)
        return tf.reduce_sum(loss * weights) / tf.maximum(tf.reduce_sum(weights), 1.0)

    def _at_level(self, place: int, parts: Sequence[tf.Tensor], there: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Vectors of a level [..., D] and whether there is content [...]."""
        if place < len(self.names):
            return tf.convert_to_tensor(parts[place]), there[place]
        count = tf.reduce_sum(tf.cast(there, tf.float32), axis=0)
        joined = tf.concat([tf.convert_to_tensor(part) for part in parts], axis=-1)
        return joined / tf.sqrt(tf.maximum(count, 1.0))[..., tf.newaxis], count > 0
