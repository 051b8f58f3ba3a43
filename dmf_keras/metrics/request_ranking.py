"""How well a request's candidates are ranked: what a user sees of a ranker is the top of one list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dmf_keras.metrics.ranking_by_request import mean_of, ranking_by_request
from dmf_keras.metrics.rows import label_column, value_column


@dataclass(frozen=True)
class RequestRanking:
    """Means over requests, each weighing 1; NaN where no request has an answer.

    Attributes:
        hit_rate: by k, whether a positive is among the first k; over requests with a positive.
        ndcg: by k, over requests with a positive.
        mrr: mean of 1 / rank of the first positive, over requests with a positive.
        auc: within a request, over requests with a positive and a negative.
        requests: how many requests there are.
        without_positive: those that hit rate, NDCG and MRR leave out.
        of_one_class: those that the AUC leaves out.
    """

    hit_rate: Mapping[int, float]
    ndcg: Mapping[int, float]
    mrr: float
    auc: float
    requests: int
    without_positive: int
    of_one_class: int


def request_ranking(
    requests: ArrayLike, labels: ArrayLike, scores: ArrayLike, at_k: Sequence[int] = (5, 10)
) -> RequestRanking:
    """Exact ranking metrics by request; scores that tie count as their mean over random orders.

    So a ranker that gives all candidates the same score has what chance would have, and not all or nothing.
    `dmf_keras.metrics.ranking_by_request` has the formulas, and the values of single requests. O(rows log rows).

    Args:
        requests: [rows], ids of any sortable type; a request's rows need not be together.
        labels: [rows], 0 or 1.
        scores: [rows], any monotone score: logits or probabilities. Float64 is compared as given.
        at_k: numbers of first candidates, each at least 1.

    Raises:
        ValueError: different lengths, labels other than 0 and 1, NaN scores, a k below 1.
    """
    labels = label_column(labels)
    scores = value_column("scores", scores, labels.size)
    ids = np.asarray(requests)
    if ids.shape != labels.shape:
        raise ValueError(f"`requests` must have shape {labels.shape}, as the labels. Received: {ids.shape}")
    if any(k < 1 for k in at_k):
        raise ValueError(f"`at_k` must be numbers of at least 1. Received: {list(at_k)}")
    number = np.unique(ids, return_inverse=True)[1].reshape(-1)
    found = ranking_by_request(number, labels.astype(bool), scores)
    kept = found.has_positive
    return RequestRanking(
        hit_rate={k: mean_of(found.hit_rate(k), kept) for k in at_k},
        ndcg={k: mean_of(found.ndcg(k), kept) for k in at_k},
        mrr=mean_of(found.reciprocal_rank(), kept),
        auc=found.auc.mean(),
        requests=len(kept),
        without_positive=int((~kept).sum()),
        of_one_class=int((~found.auc.has_both_classes).sum()),
    )
