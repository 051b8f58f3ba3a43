"""What users had before a request: what is not ranked for it among all items of the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from tfx_pipeline.evaluation.requests import places, read_requests


class Had(NamedTuple):
    """Pairs of a user and an item, in rising order: from when on the user had it.

    Attributes:
        users: hashes uint64, each once, rising.
        starts: int64 [users + 1], where each one's pairs begin and end.
        items: int32, rows of the catalogue.
        since: int64, the time of the first request whose history holds it, in microseconds since 1970.
    """

    users: np.ndarray
    starts: np.ndarray
    items: np.ndarray
    since: np.ndarray

    def before(self, user: np.uint64, moment: np.int64) -> np.ndarray:
        """Rows of the items that the user had by a request of that moment."""
        place = int(np.searchsorted(self.users, user))
        pairs = slice(self.starts[place], self.starts[place + 1])
        return self.items[pairs][self.since[pairs] <= moment]


def items_had(examples: Sequence[Sequence[str]], judged: Sequence[str], catalogue: Sequence[str]) -> Had:
    """What the users of a split had, and since when.

    Args:
        examples: files of raw examples of every split.
        judged: those of the split whose users count.
        catalogue: ids of all items; others are left out.
    """
    place_of = places(catalogue)
    users = np.unique(
        np.concatenate([held.users for held in read_requests(judged, place_of)] or [np.empty(0, np.uint64)])
    )
    pairs = pd.DataFrame({"user": np.empty(0, np.int64), "item": np.empty(0, np.int32), "since": np.empty(0, np.int64)})
    fresh: list[pd.DataFrame] = []
    for files in examples:
        for held in read_requests(files, place_of):
            place = np.searchsorted(users, held.users)
            known = np.isin(held.users, users)
            of_pair = np.repeat(np.arange(len(held.users)), held.history_lengths)
            kept = known[of_pair] & (held.history >= 0)
            found = pd.DataFrame(
                {
                    "user": place[of_pair[kept]],
                    "item": held.history[kept].astype(np.int32),
                    "since": held.times[of_pair[kept]],
                }
            )
            fresh.append(_first_times([found]))
            # Not after every part, which would sort all pairs again and again.
            if sum(map(len, fresh)) > len(pairs):
                pairs, fresh = _first_times([pairs, *fresh]), []
    pairs = _first_times([pairs, *fresh])
    starts = np.searchsorted(pairs["user"].to_numpy(), np.arange(len(users) + 1))
    return Had(users, starts, pairs["item"].to_numpy(np.int32), pairs["since"].to_numpy(np.int64))


def _first_times(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Each pair of a user and an item once, with its first moment, in rising order."""
    return pd.concat(parts).groupby(["user", "item"], as_index=False).min()
