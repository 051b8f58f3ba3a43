"""Retrievers on a split: all of them in one pass over its requests, with or without a ranker behind them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from tfx_pipeline.errors import DataError
from tfx_pipeline.evaluation.asking import Asking
from tfx_pipeline.evaluation.items_had import Had
from tfx_pipeline.evaluation.retrieval.cascade import Cascade, Ranker, ranked
from tfx_pipeline.evaluation.retrieval.ranks import Judged, ListRanks, ListTally
from tfx_pipeline.evaluation.retrieval.retriever import Retriever

# Requests that retrievers are asked at a time.
_BATCH = 256

# Is told how many of how many requests are done.
Watch: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What retrievers and a ranker behind them found.

    Attributes:
        judged: requests and positives.
        retrieved: by retriever.
        cascades: by retriever and cascade behind it; empty without a ranker.
    """

    judged: Judged
    retrieved: Mapping[str, ListRanks]
    cascades: Mapping[str, Mapping[Cascade, ListRanks]]


def evaluate_retrievers(
    retrievers: Mapping[str, Retriever],
    files: Sequence[str],
    catalogue: Sequence[str],
    had: Had,
    k: int,
    is_head: np.ndarray,
    ranker: Ranker | None = None,
    cascades: Mapping[str, Sequence[Cascade]] | None = None,
    watch: Watch = lambda done, requests: None,
) -> Evaluated:
    """Asks every retriever for the best k items of every request that has a positive in the catalogue.

    Items that the user had before are left out, but for positives of the request itself, as in
    `tfx_pipeline.evaluation.whole_catalogue`. Memory does not grow with the split, but for a few numbers a positive.

    Args:
        retrievers: by name.
        files: gzipped TFRecord files of raw examples, of one split.
        catalogue: ids of all items.
        had: of `items_had`, of the split's users.
        k: length of the lists.
        is_head: bool [items], which items are of the head.
        ranker: ranks what each retriever found; None: nobody does.
        cascades: by retriever, in which ways it stands behind that, of at most k candidates each; None: in none.
        watch: is told of the progress.

    Raises:
        DataError: k is not from 1 to the items of the catalogue, or no request has a positive in it.
        ModelError: a score is NaN.
    """
    if not 1 <= k <= len(catalogue):
        raise DataError(f"k is {k}; expected from 1 to {len(catalogue)}, the items of the catalogue")
    asking = Asking(files, catalogue, had)
    tallies = {name: ListTally(is_head, k) for name in retrievers}
    behind = {
        name: {each: ListTally(is_head, each.candidates) for each in own}
        for name, own in ({} if ranker is None else cascades or {}).items()
    }
    users, lengths, positives = [], [], []
    for asked in asking.batches(_BATCH):
        users.append(asked.requests.users)
        lengths.append(asked.requests.history_lengths)
        positives += asked.positives
        for name, retriever in retrievers.items():
            started = time.perf_counter()
            retrieved = retriever.retrieve(asked.requests, asked.left_out, k)
            tallies[name].seconds += time.perf_counter() - started
            tallies[name].add(retrieved.rows, asked.positives)
            if ranker is not None and (own := behind.get(name)):
                started = time.perf_counter()
                most = max(each.candidates for each in own)
                probabilities = ranker.probabilities(asked.requests, retrieved.rows[:, :most])
                seconds = time.perf_counter() - started
                for cascade, tally in own.items():
                    tally.add(ranked(retrieved, probabilities, cascade), asked.positives)
                    tally.seconds += seconds
        watch(asking.done, asking.total)
    judged = Judged(
        users=np.concatenate(users),
        history_lengths=np.concatenate(lengths),
        request=np.repeat(np.arange(len(positives)), [len(own) for own in positives]),
        row=np.concatenate(positives).astype(np.int32),
        items=len(catalogue),
        without_positive=asking.without_positive,
        unknown_positives=asking.unknown_positives,
    )
    return Evaluated(
        judged,
        {name: tally.ranks() for name, tally in tallies.items()},
        {name: {each: tally.ranks() for each, tally in own.items()} for name, own in behind.items() if own},
    )
