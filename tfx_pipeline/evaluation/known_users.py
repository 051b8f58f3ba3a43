"""Which users the train split had, written by the trainer beside the model: others share one ID.

`<saved_model>/assets.extra/known_users.npy` has 8 bytes a user.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tfx_pipeline.files.addresses import Address, join
from tfx_pipeline.files.reading import exists, read_bytes
from tfx_pipeline.files.writing import writing

_FILE = "assets.extra/known_users.npy"


@dataclass(frozen=True, eq=False)
class KnownUsers:
    """Users that have an ID of their own in a model.

    Attributes:
        hashes: uint64 [U], rising, by `pandas.util.hash_array` of the ids.
    """

    hashes: np.ndarray

    @classmethod
    def of(cls, user_ids: Iterable[str | bytes]) -> KnownUsers:
        """Of ids as text or as its UTF-8 bytes, which are hashed alike."""
        return cls(np.unique(pd.util.hash_array(np.array([*user_ids], object))))

    def look_up(self, hashes: np.ndarray) -> np.ndarray:
        """Whether each of uint64 [n] is one of them, bool [n]."""
        places = np.searchsorted(self.hashes, hashes)
        found = np.zeros(len(hashes), bool)
        inside = places < len(self.hashes)
        found[inside] = self.hashes[places[inside]] == hashes[inside]
        return found


def write_known_users(model_dir: Address, users: KnownUsers) -> None:
    """Writes them into a SavedModel's `assets.extra`."""
    with writing(join(model_dir, _FILE)) as file:
        np.save(file, users.hashes)


def read_known_users(model_dir: Address) -> KnownUsers | None:
    """Reads what was written; None: the model has no IDs of users, or was trained before this was kept."""
    path = join(model_dir, _FILE)
    return KnownUsers(np.load(io.BytesIO(read_bytes(path)))) if exists(path) else None
