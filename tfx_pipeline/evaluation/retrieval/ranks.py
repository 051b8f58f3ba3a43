"""Where the positives of a split stand in retrieved lists, and what follows from it.

A list has an order: of items that score alike, the one that stands first in the catalogue is first. A positive that the
list does not have has rank 0 and counts as not found. Of P positives of a request:

    HR@k     = 1 where one of them is among the first k, else 0
    recall@k = those among the first k / P
    NDCG@k   = sum over those of 1 / log2(rank + 1), divided by that sum for ranks 1 to min(P, k)
    MRR@k    = 1 / rank of the first of them, 0 where it is above k

and a metric is the mean over requests that have a positive in the catalogue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfx_pipeline.evaluation.retrieval.retriever import NOTHING
from tfx_pipeline.files.array_record import ArrayRecord

METRICS = ("hr", "recall", "ndcg", "mrr")


@dataclass(frozen=True, eq=False)
class Judged:
    """The requests of a split that have a positive in the catalogue, and their positives.

    The first two are columns [R] of requests, the next two [P] of positives.

    Attributes:
        users: hashes uint64.
        history_lengths: int64.
        request: int64, which request a positive is of.
        row: int32, its row in the catalogue.
        items: of the catalogue.
        without_positive: requests that have no positive in the catalogue.
        unknown_positives: positives that the catalogue lacks.
    """

    users: np.ndarray
    history_lengths: np.ndarray
    request: np.ndarray
    row: np.ndarray
    items: int
    without_positive: int
    unknown_positives: int


@dataclass(frozen=True, eq=False)
class ListRanks(ArrayRecord):
    """What one retriever's lists came to.

    Attributes:
        rank: int32 [P], of each positive, from 1; 0 where the list does not have it.
        best_rank: int32 [items], the best rank that an item has in any list; one above the longest list where in none.
        listed: int64 [K], lists that have an item on rank 1 to K.
        head: int64 [K], those whose item there is of the head.
        seconds: that it took.
    """

    rank: np.ndarray
    best_rank: np.ndarray
    listed: np.ndarray
    head: np.ndarray
    seconds: float

    def coverage(self, k: int) -> float:
        """Share of the catalogue that is among the first k of any list."""
        return float((self.best_rank <= min(k, len(self.listed))).mean())

    def head_share(self, k: int) -> float:
        """Share of items of the head in the first k of all lists together."""
        return float(self.head[:k].sum() / max(1, self.listed[:k].sum()))


class ListTally:
    """Counts lists as they come, so that none has to be kept.

    Args:
        is_head: bool [items], which items are of the head.
        k: length of the lists.
    """

    def __init__(self, is_head: np.ndarray, k: int):
        self._is_head = is_head
        self._ranks: list[np.ndarray] = []
        self._best_rank = np.full(len(is_head), k + 1, np.int32)
        self._listed, self._head = np.zeros(k, np.int64), np.zeros(k, np.int64)
        self._rank_of = np.zeros(len(is_head), np.int32)
        self.seconds = 0.0

    def add(self, rows: np.ndarray, positives: Sequence[np.ndarray]) -> None:
        """Counts the lists of some requests.

        Args:
            rows: int32 [B, n], n at most k; `NOTHING` at their ends.
            positives: rows of each request's positives.
        """
        ranks = np.arange(1, rows.shape[1] + 1, dtype=np.int32)
        there = rows != NOTHING
        self._listed[: len(ranks)] += there.sum(axis=0)
        self._head[: len(ranks)] += (there & self._is_head[rows]).sum(axis=0)
        np.minimum.at(self._best_rank, rows[there], np.broadcast_to(ranks, rows.shape)[there])
        for own, kept, wanted in zip(rows, there, positives, strict=True):
            self._rank_of[own[kept]] = ranks[kept]
            self._ranks.append(self._rank_of[wanted])
            self._rank_of[own[kept]] = 0

    def ranks(self) -> ListRanks:
        """All that was counted."""
        rank = np.concatenate([np.empty(0, np.int32), *self._ranks])
        return ListRanks(rank, self._best_rank, self._listed, self._head, self.seconds)


def metric_names(at_k: Sequence[int]) -> list[str]:
    """Names of the rows of `values`."""
    return [f"{name}@{k}" for name in METRICS for k in at_k]


def values(judged: Judged, rank: np.ndarray, at_k: Sequence[int], kept: np.ndarray | None = None) -> np.ndarray:
    """The metrics of single requests.

    Args:
        judged: R requests with P positives.
        rank: int [P], of `ListRanks`.
        at_k: cut-offs.
        kept: bool [P], the positives that count, as if the others were none; None: all.

    Returns:
        float64 [metrics, R] in the order of `metric_names`; NaN of requests without a positive that counts.
    """
    of = slice(None) if kept is None else np.flatnonzero(kept)
    request, rank = judged.request[of], rank[of].astype(np.int64)
    requests = len(judged.users)
    positives = np.bincount(request, minlength=requests)
    ideals = np.append(0.0, np.cumsum(1 / np.log2(np.arange(positives.max(initial=0)) + 2)))
    found: dict[str, np.ndarray] = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        for k in at_k:
            hit = (rank > 0) & (rank <= k)
            hits = np.bincount(request[hit], minlength=requests)
            gained = np.bincount(request[hit], 1 / np.log2(rank[hit] + 1), requests)
            first = np.zeros(requests)
            np.maximum.at(first, request[hit], 1 / rank[hit])
            found[f"hr@{k}"] = np.where(positives > 0, hits > 0, np.nan)
            found[f"recall@{k}"] = hits / positives
            found[f"ndcg@{k}"] = gained / ideals[np.minimum(positives, k)]
            found[f"mrr@{k}"] = np.where(positives > 0, first, np.nan)
    return np.stack([found[name] for name in metric_names(at_k)])


def answered(judged: Judged, kept: np.ndarray | None = None) -> np.ndarray:
    """Which requests have a positive that counts, bool [R]; see `values`."""
    request = judged.request if kept is None else judged.request[kept]
    has_one: np.ndarray = np.bincount(request, minlength=len(judged.users)) > 0
    return has_one
