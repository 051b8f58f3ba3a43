"""The histories of a user, held against those that a model takes."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from serving import contract
from serving.client.errors import BadRequest
from serving.client.model_info import ModelMetadata
from serving.client.user import User


class HistoryOfUser(NamedTuple):
    """One history: the inputs of its items and of their ages, and what the user has for them; ages may be absent."""

    items_field: str
    ages_field: str
    items: Sequence[str]
    ages: Sequence[float | None] | None


def histories_of(user: User, metadata: ModelMetadata, fill_missing: bool) -> Iterator[HistoryOfUser]:
    """The user's history, and then the further ones that the model takes, one that the user lacks empty.

    Raises:
        BadRequest: naming a further history that the model does not take, or that the user lacks and is not filled.
    """
    takes = metadata.further_histories
    for name in user.histories:
        if name not in takes:
            close = difflib.get_close_matches(name, takes, n=1)
            meant = f" (did you mean '{close[0]}'?)" if close else ""
            there = f"it takes {', '.join(takes)}" if takes else "it takes none beside history_item_id"
            raise BadRequest.of(
                contract.further_history_items(name),
                f"version {metadata.version} of model '{metadata.model}' takes no history {name!r}{meant}; {there}",
            )
    yield HistoryOfUser(contract.HISTORY_ITEM_ID, contract.HISTORY_AGE, user.history, user.history_age_s)
    for name in takes:
        field = contract.further_history_items(name)
        if name not in user.histories and not fill_missing:
            raise BadRequest.of(
                field,
                f"the user lacks '{field}', which the model takes; give histories={{{name!r}: [...]}}, an empty list "
                "for a user without such events, or set ClientOptions(fill_missing=True)",
            )
        ages = user.histories_age_s.get(name)
        yield HistoryOfUser(field, contract.further_history_ages(name), user.histories.get(name, ()), ages)
