"""What retrieves: for a request the best k rows of the catalogue, without those that are left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf
from scipy import sparse

from tfx_pipeline.errors import ModelError
from tfx_pipeline.evaluation.requests import Requests

NOTHING = -1
"""In the place of a row, where a list has no more items."""
# Scores that are made at a time, of all items for some requests.
_MOST_SCORES = 2**24


class Retrieved(NamedTuple):
    """Lists of items, the best first.

    Attributes:
        rows: int32 [R, k], rows of the catalogue; `NOTHING` where fewer are left.
        scores: float32 [R, k], falling; 0 there.
    """

    rows: np.ndarray
    scores: np.ndarray


class Retriever(Protocol):
    """Finds items for requests."""

    def retrieve(self, requests: Requests, left_out: Sequence[np.ndarray], k: int) -> Retrieved:
        """The best k items of each request; items of equal score stand in the order of the catalogue.

        Args:
            requests: R of them.
            left_out: of each, rows of the catalogue that no list may have.
            k: length of the lists, from 1 to the items of the catalogue.

        Raises:
            ModelError: a score is no number.
        """
        ...


class ExactRetriever:
    """Base of those that score every item. Memory is that of 16 million scores, whatever the catalogue.

    Args:
        items: of the catalogue.
    """

    def __init__(self, items: int):
        self.items = items

    def scores(self, requests: Requests) -> np.ndarray:
        """Scores float32 [R, items], or [1, items] where they are the same for all requests."""
        raise NotImplementedError(f"{type(self).__name__} must implement `scores`")

    def retrieve(self, requests: Requests, left_out: Sequence[np.ndarray], k: int) -> Retrieved:
        """See `Retriever`."""
        step = max(1, _MOST_SCORES // max(1, self.items))
        parts = []
        for first in range(0, len(requests), step):
            rows = np.arange(first, min(first + step, len(requests)))
            scores = self.scores(requests if step >= len(requests) else requests.take(rows))
            parts.append(best(np.broadcast_to(scores, (len(rows), self.items)), left_out[first : first + step], k))
        return Retrieved(*map(np.concatenate, zip(*parts, strict=True)))


def best(scores: np.ndarray, left_out: Sequence[np.ndarray], k: int) -> Retrieved:
    """The k best items of each request.

    Args:
        scores: floats [R, items].
        left_out: of each request, rows that no list may have.
        k: at most the items.

    Raises:
        ModelError: a score is NaN.
    """
    if np.isnan(scores).any():
        raise ModelError("a retriever's score is NaN: expected numbers; has its training diverged?")
    kept = np.array(scores, np.float32)
    for own, rows in zip(kept, left_out, strict=True):
        own[rows] = -np.inf
    # Of equal values the one of the lower row is first.
    values, rows = (found.numpy() for found in tf.math.top_k(kept, k))
    there = values > -np.inf
    return Retrieved(np.where(there, rows, NOTHING).astype(np.int32), np.where(there, values, 0).astype(np.float32))


def histories(requests: Requests, items: int) -> sparse.csr_array:
    """How often each item stands in each request's history, float32 [R, items]; unknown items are left out."""
    request = np.repeat(np.arange(len(requests)), requests.history_lengths)
    known = requests.history >= 0
    ones = np.ones(int(known.sum()), np.float32)
    return sparse.coo_array((ones, (request[known], requests.history[known])), (len(requests), items)).tocsr()


def else_popular(scores: np.ndarray, known: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Scores of what a retriever knows something of, and after all these the other items by popularity.

    So a user whose history says nothing is shown what is popular, and every list is full.

    Args:
        scores: floats [R, items], above -2 where known.
        known: bool, of a shape that broadcasts to [R, items].
        positives: integers [items], of each item in train.

    Returns:
        float32 [R, items]; from -3 to -2 where not known.
    """
    popularity = positives / (1 + positives.max(initial=0)) - 3
    return np.where(known, scores.astype(np.float32), popularity.astype(np.float32))
