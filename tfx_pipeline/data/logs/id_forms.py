"""Why ids of two tables do not meet: what differs in the way that they are written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

_SHOWN = 2
# What two writers of the same id do differently, and the id without it.
_FORMS: dict[str, Callable[[str], str]] = {
    "a trailing .0": lambda text: re.sub(r"(?<=\d)\.0+$", "", text),
    "spaces around them": str.strip,
    "leading zeros": lambda text: re.sub(r"^0+(?=\d)", "", text),
    "upper and lower case": str.lower,
    "quotes around them": lambda text: text.strip("\"'"),
}


def describe_mismatch(left: Sequence[str], left_name: str, right: Sequence[str], right_name: str) -> str:
    """A sentence with two ids of each side, and what differs where that explains it.

    Args:
        left, right: ids that have no counterpart on the other side, some of them.
        left_name, right_name: of the sides.
    """
    pair = _same_but_for(left, right)
    shown_left, shown_right = _first(left, pair[0] if pair else None), _first(right, pair[1] if pair else None)
    sides = f"{left_name} has {shown_left}, {right_name} has {shown_right}"
    if pair is None:
        return f"{sides}; write ids the same way in both"
    return f"{sides}; they differ by {' and '.join(pair[2])}: write ids the same way in both"


def _same_but_for(left: Sequence[str], right: Sequence[str]) -> tuple[str, str, list[str]] | None:
    """Two ids that are one but for their form, and the forms in which they differ."""
    plain = {_plain(text): text for text in right}
    for text in left:
        other = plain.get(_plain(text))
        if other is not None and other != text:
            differing = [name for name, form in _FORMS.items() if (form(text) == text) != (form(other) == other)]
            return text, other, differing or ["the way they are written"]
    return None


def _plain(text: str) -> str:
    for _ in range(2):
        for form in _FORMS.values():
            text = form(text)
    return text


def _first(ids: Sequence[str], before: str | None) -> str:
    chosen = list(dict.fromkeys([*([before] if before is not None else []), *ids]))[:_SHOWN]
    return " and ".join(json.dumps(text, ensure_ascii=False) for text in chosen) or "none"
