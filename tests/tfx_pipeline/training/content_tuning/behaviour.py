"""Little behaviour with a known truth: users click items of their own group, which few directions of vectors tell."""

from __future__ import annotations

import numpy as np

from tfx_pipeline.evaluation.requests import Requests

ITEMS, WIDTH, GROUPS = 120, 12, 4
LENGTH, SHOWN = 5, 4


def vectors(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors float32 [ITEMS, WIDTH], whose last directions say a little of the group; and the groups [ITEMS]."""
    groups = rng.integers(GROUPS, size=ITEMS)
    quiet = np.eye(GROUPS)[groups]
    found = np.concatenate([rng.standard_normal((ITEMS, WIDTH - GROUPS)), quiet], axis=1)
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32), groups


def behaviour(rng: np.random.Generator, groups: np.ndarray, requests: int, first_time: int = 0) -> Requests:
    """Requests of users who clicked items of one group, and click the one of four that is of it."""
    of_user = rng.integers(GROUPS, size=40)
    users = rng.integers(40, size=requests)
    by_group = [np.flatnonzero(groups == group) for group in range(GROUPS)]
    others = [np.flatnonzero(groups != group) for group in range(GROUPS)]
    history, candidates, labels = [], [], []
    for user in users:
        group = of_user[user]
        history.append(rng.choice(by_group[group], LENGTH))
        place = rng.integers(SHOWN)
        shown = rng.choice(others[group], SHOWN, replace=False)
        shown[place] = rng.choice(by_group[group])
        candidates.append(shown)
        labels.append(np.arange(SHOWN) == place)
    return Requests(
        serialized=np.empty(0, object),
        users=users.astype(np.uint64),
        times=first_time + np.arange(requests, dtype=np.int64),
        history=np.concatenate(history),
        history_lengths=np.full(requests, LENGTH),
        candidates=np.concatenate(candidates),
        labels=np.concatenate(labels),
        counts=np.full(requests, SHOWN),
    )
