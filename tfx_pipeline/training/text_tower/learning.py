"""Trains a tower of n-grams so that what belongs to one item is close: two halves of its text, or text and vector."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from dmf_keras.layers import BagTower, InfoNCE, UnitProjection
from tfx_pipeline.config.encoders import KerasEncoder
from tfx_pipeline.data.encoding.encode import TowerTraining
from tfx_pipeline.data.encoding.ngrams import padded
from tfx_pipeline.errors import DataError
from tfx_pipeline.training.fused_adam import FusedAdam
from tfx_pipeline.training.reproducible import make_reproducible
from tfx_pipeline.training.resumable import Resumable
from tfx_pipeline.training.text_tower.progress import Progress

# One text in so many is held out, up to a number of them.
_HELD_OUT, _MOST_HELD_OUT = 10, 1000
# Words of a text that a batch sees, drawn: all are padded to the longest.
_SEEN = 32
# With fewer there is nothing to be found among.
_LEAST = 2

# Is told of each epoch: its number, their number, the loss, and the seconds since training began.
WatchTraining = Callable[[int, int, float, float], None]
Bag = Sequence[np.ndarray]


class Texts(NamedTuple):
    """What is learned from.

    Attributes:
        bags: of each text the pieces of its words.
        groups: int [texts], the same of texts that are the same: they are no negatives of one another.
        others: float32 [texts, width], of another modality; None: the halves of a text are to find one another.
    """

    bags: Sequence[Bag]
    groups: np.ndarray
    others: np.ndarray | None

    @property
    def digest(self) -> str:
        """Of all of it, 64 hex digits."""
        digest = hashlib.sha256(np.ascontiguousarray(self.groups).tobytes())
        for bag in self.bags:
            for pieces in bag:
                digest.update(np.ascontiguousarray(pieces).tobytes() + b"/")
            digest.update(b";")
        digest.update(b"" if self.others is None else np.ascontiguousarray(self.others).tobytes())
        return digest.hexdigest()


class _Batch(NamedTuple):
    """int32 [B, W]; int32 [B, W] or float32 [B, width]; bool [B, B]."""

    anchors: np.ndarray
    partners: np.ndarray
    allowed: np.ndarray


def new_tower(settings: KerasEncoder) -> BagTower:
    """A tower of these sizes."""
    tower = BagTower(settings.buckets + 1, settings.dim, settings.hidden, settings.width)
    tower.build()
    return tower


def learn(
    texts: Texts,
    settings: KerasEncoder,
    watch: WatchTraining = lambda epoch, epochs, loss, seconds: None,
    state: Path | None = None,
) -> tuple[BagTower, TowerTraining]:
    """Trains a tower; the same arguments give the same one on CPU, but for rounding.

    Args:
        texts: two at least.
        settings: of the configuration.
        watch: is told of each epoch that is done here.
        state: file that keeps each epoch, so that a killed training goes on; the caller removes it. None: nothing is
            kept.

    Raises:
        DataError: the loss is not a number any more.
    """
    started = time.perf_counter()
    make_reproducible(settings.seed)
    rng = np.random.default_rng(settings.seed)
    learner = _Learner(settings, None if texts.others is None else texts.others.shape[1])
    held_out, rest = _split(texts.groups, rng)
    # The same halves before and after.
    judged = _batch(texts, held_out, rng)
    before = learner.accuracy(judged)
    loss, done, earlier = float("nan"), 0, 0.0
    made_of = f"{settings.model_dump_json(exclude={'in_pipeline'})} {texts.digest}"
    if state is not None and (kept := Progress.load(state, made_of)) is not None:
        loss, done, earlier, rng.bit_generator.state = kept.loss, kept.epochs, kept.seconds, kept.random
        learner.restore(kept.learner)
    for epoch in range(done, settings.epochs):
        order = rng.permutation(rest)
        # A batch of one has no negative.
        parts = [order[first : first + settings.batch_size] for first in range(0, len(order), settings.batch_size)]
        losses = [learner.step(_batch(texts, rows, rng)) for rows in parts if len(rows) >= _LEAST]
        loss = float(np.mean(losses))
        if not np.isfinite(loss):
            raise DataError(
                f"training of the text encoder diverged: its loss is not a number; try a lower learning_rate "
                f"(now {settings.learning_rate:g})"
            )
        seconds = earlier + time.perf_counter() - started
        if state is not None:
            Progress(made_of, epoch + 1, loss, seconds, rng.bit_generator.state, learner.state).save(state)
        watch(epoch + 1, settings.epochs, loss, seconds)
    record = TowerTraining(
        texts=len(rest),
        held_out=len(held_out),
        accuracy_before=before,
        accuracy_after=learner.accuracy(judged),
        loss=loss,
        temperature=learner.temperature,
        seconds=round(earlier + time.perf_counter() - started, 3),
    )
    return learner.tower, record


def _split(groups: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows that are held out, of one of each group, and the rows of all other groups."""
    names, first = np.unique(groups, return_index=True)
    chosen = rng.permutation(len(names))[: min(_MOST_HELD_OUT, len(names) // _HELD_OUT)]
    if len(chosen) < _LEAST:
        chosen = chosen[:0]
    return first[chosen], np.flatnonzero(~np.isin(groups, names[chosen]))


def _batch(texts: Texts, rows: np.ndarray, rng: np.random.Generator) -> _Batch:
    bags, groups = [texts.bags[row] for row in rows], texts.groups[rows]
    allowed = groups[:, None] != groups[None, :]
    if texts.others is not None:
        return _Batch(padded([_drawn(bag, rng) for bag in bags]), texts.others[rows], allowed)
    halves = [_halves(bag, rng) for bag in bags]
    return _Batch(padded([one for one, _ in halves]), padded([other for _, other in halves]), allowed)


def _halves(bag: Bag, rng: np.random.Generator) -> tuple[Bag, Bag]:
    """The words of a text, dealt to two; of a single word its pieces."""
    words = _drawn(bag if len(bag) > 1 else np.split(bag[0], len(bag[0])), rng)
    half = len(words) // 2
    return (words[:half], words[half:]) if half else (words, words)


def _drawn(words: Bag, rng: np.random.Generator) -> Bag:
    """Of many words some, in any order."""
    return [words[place] for place in rng.permutation(len(words))[:_SEEN]]


class _Learner(Resumable):
    """The tower, what it is trained against, and one step.

    Args:
        settings: of the configuration.
        width: of the other modality's vectors; None: the tower is trained against itself.
    """

    def __init__(self, settings: KerasEncoder, width: int | None):
        self.tower = new_tower(settings)
        self._partner: keras.layers.Layer = self.tower
        layers: list[keras.layers.Layer] = [self.tower]
        if width is not None:
            self._partner = UnitProjection(settings.width)
            self._partner.build((None, width))
            layers.append(self._partner)
        self._loss = InfoNCE(settings.temperature)
        self._loss.build()
        # Texts of a batch are drawn, and none more often than others: there is no popularity to learn.
        self._weights = [weight for layer in layers for weight in layer.trainable_weights] + [self._loss.log_scale]
        self._optimizer = FusedAdam(settings.learning_rate)
        self._optimizer.build(self._weights)

    @property
    def temperature(self) -> float:
        """As it is now."""
        return 1 / float(self._loss.scale())

    def _variables(self) -> list[Any]:
        return [*self._weights, *self._optimizer.variables]

    def step(self, batch: _Batch) -> float:
        """One update; the loss before it."""
        return float(self._step(*map(tf.constant, batch)))

    def accuracy(self, batch: _Batch) -> float | None:
        """Share of the anchors whose partner is closer than those of all others; None of none."""
        if not len(batch.anchors):
            return None
        found = keras.ops.convert_to_numpy(self._cosines(*map(tf.constant, batch[:2])))
        others = np.where(batch.allowed, found, -np.inf).max(axis=1)
        return float((np.diagonal(found) > others).mean())

    @tf.function(autograph=False, reduce_retracing=True)
    def _cosines(self, anchors: tf.Tensor, partners: tf.Tensor) -> tf.Tensor:
        return tf.matmul(self.tower(anchors), self._partner(partners), transpose_b=True)

    @tf.function(autograph=False, reduce_retracing=True)
    def _step(self, anchors: tf.Tensor, partners: tf.Tensor, allowed: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            one, other = self.tower(anchors), self._partner(partners)
            there = self._loss(one, other, other, allowed)
            back = self._loss(other, one, one, tf.transpose(allowed))
            loss = (tf.reduce_mean(there) + tf.reduce_mean(back)) / 2
        gradients = tape.gradient(loss, [weight.value for weight in self._weights])
        self._optimizer.apply(gradients, self._weights)
        return loss
