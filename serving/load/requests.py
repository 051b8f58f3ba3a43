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
        columns: values by candidate column, one for each candidate.
    """

    user: Mapping[str, Any]
    candidates: tuple[str, ...]
    columns: Mapping[str, list[Any]] = dataclasses.field(default_factory=dict)


def golden_users(model_dir: Path) -> list[dict[str, Any]]:
    """Users of the golden requests beside an exported model, without their histories; empty where there are none."""
    requests = _golden_requests(model_dir)
    lists = _lists(model_dir, requests)
    users = [{name: value for name, value in request.items() if name not in lists} for request in requests]
    return [user for number, user in enumerate(users) if user not in users[:number]]


def golden_columns(model_dir: Path) -> dict[str, list[Any]]:
    """Values of the candidate columns that the model takes, as the golden requests have them; there may be none."""
    requests = _golden_requests(model_dir)
    names = [name for name in _lists(model_dir, requests) if not name.startswith(contract.CONTENT_PREFIX)]
    return {
        name: [value for request in requests for value in request.get(name) or ()]
        for name in names
        if name not in (contract.HISTORY_ITEM_ID, contract.HISTORY_AGE, contract.CANDIDATE_ITEM_ID)
        and not name.startswith(contract.FURTHER_HISTORY_PREFIX)
    }


def golden_histories(model_dir: Path) -> list[str]:
    """Names of the further histories that the golden requests have; none of a model that takes one history."""
    names = {contract.further_history_of(name) for request in _golden_requests(model_dir) for name in request}
    return sorted(name for name in names if name is not None)


def golden_ages(model_dir: Path) -> list[float | None]:
    """Ages of history items as the golden requests have them; none of a model that does not take them."""
    return [age for request in _golden_requests(model_dir) for age in request.get(contract.HISTORY_AGE) or ()]


def _lists(model_dir: Path, requests: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of what has several values and is no feature of the user's: the history, and what is of candidates."""
    known = (model_dir / contract.CONTRACT_FILE).exists()
    of_users = contract.ModelContract.read(model_dir).user_lists if known else ()
    found = {name for request in requests for name, value in request.items() if isinstance(value, list)}
    return sorted(found.difference(of_users))


def _golden_requests(model_dir: Path) -> list[dict[str, Any]]:
    path = model_dir / contract.GOLDEN_FILE
    if not path.exists():
        return []
    return [entry["request"] for entry in json.loads(path.read_text(encoding="utf-8"))]


def draw_requests(
    items: Sequence[str],
    users: Sequence[Mapping[str, Any]],
    *,
    candidates: int,
    history: int,
    count: int,
    seed: int = 0,
    columns: Mapping[str, Sequence[Any]] | None = None,
    ages: Sequence[float | None] = (),
    histories: Sequence[str] = (),
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
        columns: values to draw from by candidate column, see `golden_columns`.
        ages: to draw from, see `golden_ages`; none: the history's items have none.
        histories: further histories of every request, see `golden_histories`; each is as long as the history.
    """
    rng = np.random.default_rng(seed)
    catalogue = np.array(items or [f"item-{number:06d}" for number in range(max(candidates, history))], object)

    def draw(size: int) -> list[str]:
        drawn: list[str] = rng.choice(catalogue, size, replace=size > len(catalogue)).tolist()
        return drawn

    requests = []
    for number in range(count):
        user = users[number % len(users)] if users else {contract.USER_ID: f"user-{number:06d}"}
        who, items_shown = {**user, contract.HISTORY_ITEM_ID: draw(history)}, tuple(draw(candidates))
        who |= {contract.further_history_items(name): draw(history) for name in histories}
        for name in (contract.HISTORY_AGE, *map(contract.further_history_ages, histories)) if ages else ():
            drawn = sorted(rng.integers(0, len(ages), history).tolist(), key=lambda place: -(ages[place] or 0.0))
            who[name] = [ages[place] for place in drawn]
        shown = {
            name: [pool[i] for i in rng.integers(0, len(pool), candidates)] for name, pool in (columns or {}).items()
        }
        requests.append(RankRequest(who, items_shown, shown))
    return requests
