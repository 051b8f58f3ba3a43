"""What an explanation says: as data, as JSON and in one sentence."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
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


@dataclasses.dataclass(frozen=True)
class Part:
    """What one part of the model adds to the logit.

    Attributes:
        part: its name in the model.
        contribution: to the logit; contributions and the base logit sum to the logit.
        logit_without: the logit if the part knew nothing.
    """

    part: str
    contribution: float
    logit_without: float


@dataclasses.dataclass(frozen=True)
class Similarity:
    """How like the candidate a history item is in one modality.

    Attributes:
        cosine: of the two content vectors, in [-1, 1].
        bucket: that the cosine falls into, from 0.
    """

    cosine: float
    bucket: int


@dataclasses.dataclass(frozen=True)
class HistoryItem:
    """One item of the history that the model uses.

    Attributes:
        item: its id.
        position: 1 for the newest.
        score_without: probability of a click without it.
        effect: the logit with it less the logit without it.
        rank_by_effect: 1 for the largest effect by size.
        weight: that the model gives it; None where the model tells none.
        rank_by_weight: 1 for the largest weight by size; None where the model tells none.
        weight_by_head: its weight in each head; None where the model tells none.
        similarity: by modality; None where it or the candidate has no content.
        title: from the catalogue; None where that has none, or is not there.
        time: of its event, ISO 8601 in UTC; None where it is not known.
    """

    item: str
    position: int
    score_without: float
    effect: float
    rank_by_effect: int
    weight: float | None = None
    rank_by_weight: int | None = None
    weight_by_head: list[float] | None = None
    similarity: dict[str, Similarity | None] = dataclasses.field(default_factory=dict)
    title: str | None = None
    time: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As in `dmf explain --json`, without the weights that the model does not tell."""
        values = dataclasses.asdict(self)
        for name in ("weight", "rank_by_weight", "weight_by_head"):
            if values[name] is None:
                del values[name]
        return values


@dataclasses.dataclass(frozen=True)
class Explanation:
    """What carried the score of one candidate for one user; docs/EXPLAIN.md has the same entries.

    Attributes:
        user: user id.
        candidate: item id.
        title: of the candidate; None where the catalogue has none, or is not there.
        model: path of the exported version.
        model_name: in the registry.
        told_by: who told weights, similarities and parts: `signature` or `keras`; None: nobody, they are not known.
        history_source: where the history comes from, in words.
        score: probability of a click.
        logit: of the score.
        base_logit: the logit if all parts knew nothing; None where it is not known.
        parts: the largest contribution first.
        weights: what the weights of history items are: `attention` or `activation`; None: the model tells none.
        history: the largest weight first or, without weights, the largest effect.
        notes: what a reader must know of candidate, history and model, as sentences.
    """

    user: str
    candidate: str
    title: str | None
    model: str
    model_name: str
    told_by: str | None
    history_source: str
    score: float
    logit: float
    base_logit: float | None
    parts: list[Part]
    weights: str | None
    history: list[HistoryItem]
    notes: list[str]

    @property
    def summary(self) -> str:
        """The explanation in one sentence."""
        sentence = "; ".join(self._said())
        return f"{sentence[0].upper()}{sentence[1:]}."

    def to_json(self) -> dict[str, Any]:
        """What `dmf explain --json` prints."""
        values = dataclasses.asdict(self)
        return {**values, "history": [item.to_json() for item in self.history], "summary": self.summary}

    def _said(self) -> Iterator[str]:
        yield f"the score of {self.candidate} for {self.user} is {self.score:.4f}"
        if self.parts:
            largest = self.parts[0]
            part = part_in_words(largest.part)
            verb = "raises" if largest.contribution > 0 else "lowers"
            yield f"the {part} {verb} it the most ({largest.contribution:+.2f} of the logit)"
        weights = [item.weight for item in self.history if item.weight is not None]
        if self.weights == "attention" and weights:
            half = _items_with_half(weights)
            even = ", which is spread almost evenly" if len(weights) > 1 and max(weights) * len(weights) < _EVEN else ""
            yield f"{half} of {len(weights)} history items hold{'s' * (half == 1)} half of the attention{even}"
        if self.history:
            first = min(self.history, key=lambda item: item.rank_by_effect)
            yield f"without {first.item} it would be {first.score_without:.4f}, the largest change"
        if self.weights and len(weights) > _MOST_ITEMS:
            heaviest = {n for n, item in enumerate(self.history) if (item.rank_by_weight or math.inf) <= _MOST_ITEMS}
            matter = {n for n, item in enumerate(self.history) if item.rank_by_effect <= _MOST_ITEMS}
            both = len(heaviest & matter)
            yield (
                f"of the {_MOST_ITEMS} items with the largest weights, {both or 'none'} "
                f"{'is' if both == 1 else 'are'} among the {_MOST_ITEMS} that change it the most"
            )


def part_in_words(part: str) -> str:
    """What a part of the logit is; one that no registered model has words for goes by its name."""
    _, slash, history = part.partition("/")
    if slash:
        return f"history of {history}"
    return {**parts_in_words(), **_PARTS}.get(part, part)


def _items_with_half(weights: list[float]) -> int:
    """How many of the largest weights make half of their sum."""
    total, count = math.fsum(weights) / 2, 0
    for weight in sorted(weights, reverse=True):
        if total <= 0:
            break
        total, count = total - weight, count + 1
    return count
