"""An explanation in one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dmf_keras.models.registry import parts_in_words

# The parts of every model.
_PARTS = {
    "history": "history",
    "item": "candidate's embedding",
    "user": "user's embedding",
    "columns": "profile and context",
}
_MOST_ITEMS = 3
# The largest weight as a multiple of the mean one, below which the items weigh about the same.
_EVEN = 1.25


def summary_of(found: Mapping[str, Any]) -> str:
    """One sentence; `found` is what `tfx_pipeline.trained.explain.explanation.explain` returns."""
    said = [f"the score of {found['candidate']} for {found['user']} is {found['score']:.4f}"]
    if found["parts"]:
        largest = found["parts"][0]
        part = part_in_words(largest["part"])
        verb = "raises" if largest["contribution"] > 0 else "lowers"
        said.append(f"the {part} {verb} it the most ({largest['contribution']:+.2f} of the logit)")
    history = found["history"]
    if found["weights"] == "attention" and history:
        weights = [entry["weight"] for entry in history]
        half = _items_with_half(weights)
        even = ", which is spread almost evenly" if len(history) > 1 and max(weights) * len(history) < _EVEN else ""
        said.append(f"{half} of {len(history)} history items hold{'s' * (half == 1)} half of the attention{even}")
    if history:
        first = min(history, key=lambda entry: entry["rank_by_effect"])
        said.append(f"without {first['item']} it would be {first['score_without']:.4f}, the largest change")
    if found["weights"] and len(history) > _MOST_ITEMS:
        heaviest = {place for place, entry in enumerate(history) if entry["rank_by_weight"] <= _MOST_ITEMS}
        matter = {place for place, entry in enumerate(history) if entry["rank_by_effect"] <= _MOST_ITEMS}
        said.append(
            f"of the {_MOST_ITEMS} items with the largest weights, {len(heaviest & matter) or 'none'} "
            f"{'is' if len(heaviest & matter) == 1 else 'are'} among the {_MOST_ITEMS} that change it the most"
        )
    sentence = "; ".join(said)
    return f"{sentence[0].upper()}{sentence[1:]}."


def part_in_words(part: str) -> str:
    """What a part of the logit is; one that no registered model has words for goes by its name."""
    return {**parts_in_words(), **_PARTS}.get(part, part)


def _items_with_half(weights: list[float]) -> int:
    """How many of the largest weights make half of their sum."""
    total, count = math.fsum(weights) / 2, 0
    for weight in sorted(weights, reverse=True):
        if total <= 0:
            break
        total, count = total - weight, count + 1
    return count
