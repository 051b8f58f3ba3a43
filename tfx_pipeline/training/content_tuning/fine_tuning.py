"""C-SFT: trains projections of content vectors on pairs of clicks, and keeps the epoch that is best on eval."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfx_pipeline.config.fine_tuning import FineTuning
from tfx_pipeline.errors import DataError
from tfx_pipeline.evaluation.next_click import fused, history_means, next_clicks
from tfx_pipeline.evaluation.requests import Requests
from tfx_pipeline.training.content_tuning.heads import Heads, Source
from tfx_pipeline.training.content_tuning.positives import Batch, Positives
from tfx_pipeline.training.content_tuning.progress import Progress
from tfx_pipeline.training.content_tuning.record import TunedEpoch
from tfx_pipeline.training.reproducible import make_reproducible

# Clicks of eval that an epoch is judged by.
_JUDGED = 10_000


class Tuned(NamedTuple):
    """What a fine-tuning gives.

    Attributes:
        kernels: by modality float32 [width, dim].
        epochs: the first is the state before training.
        best: which of them the kernels are of.
        clicks, users: that it learned from.
        judged: clicks of eval that the recall is of.
    """

    kernels: dict[str, np.ndarray]
    epochs: tuple[TunedEpoch, ...]
    best: int
    clicks: int
    users: int
    judged: int


def fine_tune(
    sources: Mapping[str, Source],
    train: Requests,
    judged: Requests,
    settings: FineTuning,
    watch: Callable[[int, TunedEpoch], None] = lambda number, epoch: None,
    state: Path | None = None,
) -> Tuned:
    """Trains; the same arguments give the same projections on CPU. One that was killed goes on after its last epoch.

    Args:
        sources: vectors by modality, all of the same items.
        train: requests of the train split.
        judged: requests of the eval split, which decide which epoch is kept and nothing else.
        settings: of the configuration.
        watch: is told of each epoch that is done here, the state before training as number 0.
        state: file that keeps each epoch, of these arguments alone; the caller removes it. None: nothing is kept.

    Raises:
        DataError: no click of train follows another with content.
    """
    make_reproducible(settings.seed)
    rng = np.random.default_rng(settings.seed)
    there = np.stack([source.present for source in sources.values()])
    positives = Positives(train, np.asarray(there.any(axis=0)), settings.hard_negatives)
    if positives.clicks < 2:
        raise DataError(
            f"content.fine_tuning: {positives.clicks} clicks of the train split follow another click with content; "
            "expected thousands. Check that histories are filled (history.events) and that embeddings have the log's "
            "ids, or leave content.fine_tuning out"
        )
    heads = Heads(sources, settings)
    queue = _Queue(settings.queue, positives)
    kernels, epochs, best, asked = heads.kernels, list[TunedEpoch](), 0, 0
    if (kept := Progress.load(state) if state else None) is not None:
        kernels, epochs, best, asked = kept.best_kernels, kept.epochs, kept.best, kept.judged
        queue.items, rng.bit_generator.state = kept.queue, kept.random
        heads.restore(kept.heads)
    while len(epochs) <= settings.epochs and not (asked and len(epochs) - 1 - best >= settings.patience):
        number, started, losses = len(epochs), time.perf_counter(), []
        if number:
            for batch in positives.batches(settings.batch_size, rng):
                losses.append(heads.step(*_tensors(batch, queue, sources, there, positives)))
                queue.add(batch.clicked)
        recall, asked = _recall(sources, heads.kernels, judged, settings.recall_at)
        loss = float(np.mean(losses)) if losses else None
        epochs.append(TunedEpoch(loss, recall, heads.temperatures, time.perf_counter() - started))
        # Without an eval split nothing says which is best: the last one counts.
        if recall > epochs[best].recall or not asked:
            kernels, best = heads.kernels, number
        if state:
            Progress(epochs, best, asked, rng.bit_generator.state, kernels, queue.items, heads.state).save(state)
        watch(number, epochs[-1])
    named = dict(zip(sources, kernels, strict=True))
    return Tuned(named, tuple(epochs), best, positives.clicks, positives.users, asked)


class _Queue:
    """Which items the queue of `Heads` holds, the newest first; -1 where it is not filled yet."""

    def __init__(self, size: int, positives: Positives):
        self.items, self._positives = np.full(size, -1), positives

    def add(self, clicked: np.ndarray) -> None:
        """Takes the clicks of a batch, as the step took their vectors."""
        self.items = np.concatenate([clicked, self.items])[: len(self.items)]


def _tensors(
    batch: Batch, queue: _Queue, sources: Mapping[str, Source], there: np.ndarray, positives: Positives
) -> tuple[object, ...]:
    """The arguments of `Heads.step`."""
    queued = np.maximum(queue.items, 0)
    columns = np.concatenate([batch.clicked, queued])
    allowed = positives.never_clicked(batch.users, columns)
    allowed &= np.concatenate([np.ones(len(batch.clicked), bool), queue.items >= 0])
    return (
        [source.rows(batch.anchors) for source in sources.values()],
        [source.rows(batch.clicked) for source in sources.values()],
        [source.rows(batch.shown) for source in sources.values()],
        there[:, batch.anchors],
        there[:, batch.clicked],
        there[:, batch.shown],
        there[:, queued],
        allowed,
        batch.shown_allowed,
        positives.log_q[batch.clicked],
        positives.log_q[queued],
    )


def _recall(sources: Mapping[str, Source], kernels: list[np.ndarray], judged: Requests, k: int) -> tuple[float, int]:
    """Recall of the next click at k with these projections, and how many clicks it is of."""
    vectors = [source.projected(kernel) for source, kernel in zip(sources.values(), kernels, strict=True)]
    present = [source.present for source in sources.values()]
    space = fused(vectors, present) if len(vectors) > 1 else (vectors[0], present[0])
    clicks = next_clicks(judged, history_means(judged, *space), *space, most=_JUDGED)
    return (float(clicks.recall(k).mean()) if len(clicks.items) else 0.0), len(clicks.items)
