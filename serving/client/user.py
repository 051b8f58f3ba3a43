"""Who is ranked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from serving import contract
from serving.client.errors import BadRequest
from serving.client.text import shown

Feature = str | float | list[str] | tuple[str, ...] | None


@dataclasses.dataclass(frozen=True)
class User:
    """One user at one moment: the raw inputs of the `user_tower` and `rank` signatures.

    A plain mapping from the model's input names does as well wherever a `User` is taken:
    `{"user_id": "u1", "history_item_id": ["i1", "i2"], "gender": "f", "age": 34}`.

    Attributes:
        user_id: "" for a user without an id.
        history: ids of the items of the user's history, oldest first; may be empty.
        features: profile and context by name: a string, a number, or None where the value is missing; a list of
            strings, which may be empty, where the model takes several values (`ModelMetadata.lists`).
        history_age_s: how many seconds ago the event of each item of the history was, as many numbers, None or NaN
            where not known; None for a model that does not take them.
        histories: further histories by name, each as `history`, where the model takes some
            (`ModelMetadata.further_histories`).
        histories_age_s: their ages by name, each as `history_age_s`.

    Raises:
        BadRequest: when a history is a string or otherwise no sequence, its ages are not one for each item, or the
            features or further histories are no mapping.
    """

    user_id: str
    history: Sequence[str]
    features: Mapping[str, Feature] = dataclasses.field(default_factory=dict)
    history_age_s: Sequence[float | None] | None = None
    histories: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    histories_age_s: Mapping[str, Sequence[float | None]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "history", tuple(item_list(contract.HISTORY_ITEM_ID, self.history)))
        if self.history_age_s is not None:
            ages = _ages(contract.HISTORY_AGE, self.history_age_s, len(self.history))
            object.__setattr__(self, "history_age_s", ages)
        for name in ("features", "histories", "histories_age_s"):
            if not isinstance(given := getattr(self, name), Mapping):
                raise BadRequest.of(name, f"{name} must be a mapping of names to values, got {type(given).__name__}")
        histories = {
            name: tuple(item_list(contract.further_history_items(name), items))
            for name, items in self.histories.items()
        }
        object.__setattr__(self, "histories", histories)
        of_each = {}
        for name, ages_of in self.histories_age_s.items():
            field = contract.further_history_ages(name)
            if name not in histories:
                raise BadRequest.of(field, f"{field} is given, but there is no history '{name}'; give its items too")
            of_each[name] = _ages(field, ages_of, len(histories[name]))
        object.__setattr__(self, "histories_age_s", of_each)
        features = {name: _plain(value) for name, value in self.features.items()}
        object.__setattr__(self, "features", features)


def _plain(value: Any) -> Any:
    """An array as a list, a list as one of the user's own, anything else as it is."""
    if isinstance(value, list):
        return list(value)
    return value.tolist() if getattr(value, "ndim", 0) and hasattr(value, "tolist") else value


UserLike = User | Mapping[str, Any]

_EMPTY = {
    contract.USER_ID: "an empty string for a user without an id",
    contract.HISTORY_ITEM_ID: "an empty list for a user without a history",
}


def as_user(user: UserLike, *, fill_missing: bool) -> User:
    """A mapping by the model's input names as a `User`.

    Raises:
        BadRequest: naming `user_id` or `history_item_id` where it is absent and not filled, or of a wrong type.
    """
    if isinstance(user, User):
        return user
    if not isinstance(user, Mapping):
        raise BadRequest.of(
            "user", f"user must be a serving.client.User or a mapping of input names, got {type(user).__name__}"
        )
    features = dict(user)
    filled: dict[str, Any] = {contract.USER_ID: "", contract.HISTORY_ITEM_ID: ()}
    for name in filled:
        if name in features:
            filled[name] = features.pop(name)
        elif not fill_missing:
            raise BadRequest.of(
                name,
                f"the user lacks '{name}', got the fields {sorted(map(str, user))}; give {_EMPTY[name]}, "
                "or set ClientOptions(fill_missing=True)",
            )
    # One value and not a list is a feature of the user, whatever its name.
    ages = features.get(contract.HISTORY_AGE)
    if isinstance(ages, list | tuple) or getattr(ages, "ndim", None):
        del features[contract.HISTORY_AGE]
    else:
        ages = None
    further = [name for name in map(contract.further_history_of, map(str, features)) if name is not None]
    histories = {name: features.pop(contract.further_history_items(name)) for name in further}
    names_of_ages = {name: contract.further_history_ages(name) for name in further}
    ages_of = {name: features.pop(field) for name, field in names_of_ages.items() if features.get(field) is not None}
    features = {name: value for name, value in features.items() if name not in names_of_ages.values()}
    return User(filled[contract.USER_ID], filled[contract.HISTORY_ITEM_ID], features, ages, histories, ages_of)


def _ages(field: str, ages: Any, count: int) -> tuple[Any, ...]:
    if isinstance(ages, str | bytes | Mapping) or not hasattr(ages, "__iter__"):
        raise BadRequest.of(field, f"{field} must be a list of numbers, got {type(ages).__name__} {shown(ages)}")
    given = tuple(ages.tolist() if hasattr(ages, "tolist") else ages)
    if len(given) != count:
        raise BadRequest.of(
            field,
            f"{field} must have {count} numbers, one for each item of the history, got {len(given)}; give None for an "
            "age that you do not know",
        )
    return given


def item_list(field: str, items: Any) -> list[Any]:
    """The elements of a list, tuple or array of item ids; they are checked where a request is made of them.

    Raises:
        BadRequest: naming `field`, when it is something else; a single string is the usual slip.
    """
    if isinstance(items, (str, bytes, Mapping)) or not hasattr(items, "__iter__"):
        raise BadRequest.of(field, f"{field} must be a list of item ids, got {type(items).__name__} {shown(items)}")
    # An array's own tolist makes Python strings of numpy's.
    elements = items.tolist() if hasattr(items, "tolist") else list(items)
    return elements if isinstance(elements, list) else [elements]
