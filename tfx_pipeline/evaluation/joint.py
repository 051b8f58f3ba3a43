"""Probabilities of conditional objectives over all impressions: what they are judged by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def joint_probabilities(by_name: Mapping[str, Any], given: Mapping[str, str | None]) -> dict[str, Any]:
    """Of each objective the probability that it happens, its condition included.

    Args:
        by_name: an array or tensor of each objective's own probabilities: p(this given that) where it is conditional.
        given: the condition of each, or None; conditions come first.
    """
    joint: dict[str, Any] = {}
    for name, condition in given.items():
        joint[name] = by_name[name] if condition is None else by_name[name] * joint[condition]
    return joint
