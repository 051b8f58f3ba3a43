"""Items that the same users had in train."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from typing_extensions import override

from tfx_pipeline.evaluation.requests import Requests
from tfx_pipeline.evaluation.retrieval.retriever import ExactRetriever, else_popular, histories
from tfx_pipeline.evaluation.retrieval.train_items import TrainItems

# The most that an item keeps: no list that is judged is longer, and a popular item of a large catalogue has millions.
_MOST_NEIGHBOURS = 1000
# Entries of the product that are made at a time.
_MOST_ENTRIES = 2**24


class CoOccurrence(ExactRetriever):
    """Item-to-item neighbours: the cosine of two items is that of their columns in the matrix of users and items.

        s_ij = users that had both in train / sqrt(users that had i * users that had j)

    An item's score for a request is the sum of its cosines to the items of the history; one that stands there twice
    counts twice. Of each item of a history the thousand nearest are kept. Items that occur with none of the history
    come after all others, by popularity.

    Args:
        train: of the train split.

    References:
        Deshpande and Karypis 2004, Item-based top-N recommendation algorithms.
    """

    def __init__(self, train: TrainItems):
        super().__init__(len(train.positives))
        self._positives = train.positives
        self.neighbours = _neighbours(train.owners)

    @override
    def scores(self, requests: Requests) -> np.ndarray:
        found = (histories(requests, self.items) @ self.neighbours).toarray()
        return else_popular(found, found > 0, self._positives)


def _neighbours(owners: sparse.csr_array) -> sparse.csr_array:
    """Cosines float32 [items, items], row i those of the nearest items to i; the diagonal is empty."""
    items = owners.shape[1]
    counts = np.asarray(owners.sum(axis=0)).reshape(-1)
    scale = sparse.diags_array(1 / np.sqrt(np.maximum(counts, 1)).astype(np.float32))
    unit = (owners @ scale).tocsr()
    columns = unit.T.tocsr()
    step = max(1, _MOST_ENTRIES // max(1, items))
    parts = [sparse.csr_array((0, items), dtype=np.float32)]
    for first in range(0, items, step):
        block = (columns[first : first + step] @ unit).tocoo()
        block.data[block.row + first == block.col] = 0
        parts.append(_nearest(block.tocsr()))
    return sparse.vstack(parts).tocsr()


def _nearest(block: sparse.csr_array) -> sparse.csr_array:
    """The largest entries of each row alone."""
    for row in np.flatnonzero(np.diff(block.indptr) > _MOST_NEIGHBOURS):
        own = block.data[block.indptr[row] : block.indptr[row + 1]]
        own[np.argpartition(-own, _MOST_NEIGHBOURS)[_MOST_NEIGHBOURS:]] = 0
    block.eliminate_zeros()
    return block
