"""What the train split says of items: how often each was chosen, and by whom. Nothing later is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from tfx_pipeline.evaluation.requests import places, read_requests


class TrainItems(NamedTuple):
    """Items of the catalogue in the train split.

    Attributes:
        positives: int64 [items], how many an item has.
        owners: float32 [users, items], 1 where the item is a positive of the user or stands in a history of theirs.
    """

    positives: np.ndarray
    owners: sparse.csr_array


def read_train_items(files: Sequence[str], catalogue: Sequence[str]) -> TrainItems:
    """Counts them.

    Args:
        files: gzipped TFRecord files of raw examples of the train split.
        catalogue: ids of all items; others are left out.
    """
    positives = np.zeros(len(catalogue), np.int64)
    pairs = pd.DataFrame({"user": np.empty(0, np.uint64), "item": np.empty(0, np.int32)})
    fresh: list[pd.DataFrame] = []
    for held in read_requests(files, places(catalogue)):
        chosen = held.labels & (held.candidates >= 0)
        positives += np.bincount(held.candidates[chosen], minlength=len(catalogue))
        stood = held.history >= 0
        users = (
            np.repeat(held.users, held.counts)[chosen],
            np.repeat(held.users, held.history_lengths)[stood],
        )
        items = np.concatenate([held.candidates[chosen], held.history[stood]]).astype(np.int32)
        fresh.append(pd.DataFrame({"user": np.concatenate(users), "item": items}).drop_duplicates())
        # Not after every part, which would look at all pairs again and again.
        if sum(map(len, fresh)) > len(pairs):
            pairs, fresh = pd.concat([pairs, *fresh]).drop_duplicates(), []
    pairs = pd.concat([pairs, *fresh]).drop_duplicates()
    users_at, place = np.unique(pairs["user"].to_numpy(), return_inverse=True)
    ones = np.ones(len(pairs), np.float32)
    shape = (len(users_at), len(catalogue))
    return TrainItems(positives, sparse.coo_array((ones, (place, pairs["item"].to_numpy())), shape).tocsr())
