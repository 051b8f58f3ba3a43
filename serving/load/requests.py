"""What is asked: requests of given sizes, with ids that the model knows where those are at hand."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serving import contract


@dataclasses.dataclass(frozen=True)
class RankRequest:
    """One user and the candidates to be ranked for them.

    Attributes:
        user: by the model's input names, as the client takes it.
        candidates: item ids.
    """

    user: Mapping[str, Any]
    candidates: tuple[str, ...]


def golden_users(model_dir: Path) -> list[dict[str, Any]]:
    """Users of the golden requests beside an exported model, without their histories; empty where there are none."""
    path = model_dir / contract.GOLDEN_FILE
    if not path.exists():
        return []
    entries = json.loads(path.read_text(encoding="utf-8"))
    no_user = (contract.HISTORY_ITEM_ID, contract.CANDIDATE_ITEM_ID)
    users = [
        {
            name: value
            for name, value in entry["request"].items()
            if name not in no_user and not name.startswith(contract.CONTENT_PREFIX)
        }
        for entry in entries
    ]
    return [user for number, user in enumerate(users) if user not in users[:number]]


def draw_requests(
    items: Sequence[str],
    users: Sequence[Mapping[str, Any]],
    *,
    candidates: int,
    history: int,
    count: int,
    seed: int = 0,
) -> list[RankRequest]:
    """Different requests of one size, the same in every run.

    Args:
        items: ids to draw from, without replacement as far as there are enough. None are known: made-up ones, which
            the model takes for items that it has never seen.
        users: taken in turn, whatever history they have. None are known: users without features.
        candidates: N of every request.
        history: L of every request.
        count: of requests.
        seed: of the drawing.
    """
    rng = np.random.default_rng(seed)
    catalogue = np.array(items or [f"item-{number:06d}" for number in range(max(candidates, history))], object)

    def draw(size: int) -> list[str]:
        drawn: list[str] = rng.choice(catalogue, size, replace=size > len(catalogue)).tolist()
        return drawn

    requests = []
    for number in range(count):
        user = users[number % len(users)] if users else {contract.USER_ID: f"user-{number:06d}"}
        requests.append(RankRequest({**user, contract.HISTORY_ITEM_ID: draw(history)}, tuple(draw(candidates))))
    return requests
