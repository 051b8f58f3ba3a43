"""The requests of a split that rank the whole catalogue, and what each of them does not rank."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tfx_pipeline.errors import DataError
from tfx_pipeline.evaluation.items_had import Had
from tfx_pipeline.evaluation.requests import Requests, places, read_requests
from tfx_pipeline.transform.dataset import count_requests


class Asked(NamedTuple):
    """Requests that have a positive in the catalogue.

    Attributes:
        requests: B of them.
        positives: of each, rows of the catalogue, rising.
        left_out: of each, rows of what it does not rank: items that the user had before, but for `positives`.
    """

    requests: Requests
    positives: list[np.ndarray]
    left_out: list[np.ndarray]


class Asking:
    """The requests of a split that have a positive in the catalogue, and counts of those that have none.

    Args:
        files: gzipped TFRecord files of raw examples, of one split.
        catalogue: ids of all items.
        had: of `items_had`, of the split's users.

    Attributes:
        total: requests of the split.
        done, without_positive, unknown_positives: so far: requests that were read or had no positive, those without,
            and positives that the catalogue lacks.
    """

    def __init__(self, files: Sequence[str], catalogue: Sequence[str], had: Had):
        self._files, self._had = list(files), had
        self._place_of = places(catalogue)
        self.total = count_requests(self._files)
        self.done = self.without_positive = self.unknown_positives = 0

    def batches(self, size: int) -> Iterator[Asked]:
        """All of them, at most `size` at a time; those of some thousands in the order of their history's length.

        Raises:
            DataError: there is none.
        """
        found = False
        for held in read_requests(self._files, self._place_of):
            positives = held.positives_of()
            answered = np.array([len(own) > 0 for own in positives], bool)
            self.unknown_positives += held.unknown
            self.without_positive += int((~answered).sum())
            self.done += int((~answered).sum())
            order = np.argsort(held.history_lengths, kind="stable")
            order = order[answered[order]]
            for first in range(0, len(order), size):
                rows = order[first : first + size]
                own = [positives[row] for row in rows]
                had = (self._had.before(held.users[row], held.times[row]) for row in rows)
                left_out = [np.setdiff1d(before, kept) for before, kept in zip(had, own, strict=True)]
                self.done += len(rows)
                found = True
                yield Asked(held.take(rows), own, left_out)
        if not found:
            raise DataError("no request of the split has a positive in the catalogue: there is nothing to rank")
