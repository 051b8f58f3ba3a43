"""Users of the train split beside a model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tfx_pipeline.evaluation.known_users import KnownUsers, read_known_users, write_known_users


def hashed(*ids: bytes) -> np.ndarray:
    """As the Evaluator takes the ids of a batch."""
    return pd.util.hash_array(np.array(ids, object))


@pytest.mark.parametrize("ids", [["a", "über", "z"], [b"z", "über".encode(), b"a", b"a"]])
def test_is_read_as_it_was_written(ids, tmp_path):
    write_known_users(tmp_path, KnownUsers.of(ids))
    users = read_known_users(tmp_path)
    assert users.hashes.dtype == np.uint64 and len(users.hashes) == 3
    asked = hashed("über".encode(), b"A", b"a", b"", b"z", b"a")
    assert users.look_up(asked).tolist() == [True, False, True, False, True, True]
    assert [path.name for path in (tmp_path / "assets.extra").iterdir()] == ["known_users.npy"]


def test_no_user_is_known():
    assert KnownUsers.of([]).look_up(hashed(b"a")).tolist() == [False]


def test_a_model_of_before_has_none(tmp_path):
    assert read_known_users(tmp_path) is None
