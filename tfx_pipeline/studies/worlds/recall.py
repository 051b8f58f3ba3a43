"""How a user's recent clicks move the user: the parts `content` and `interaction` of the logit.

Both ways keep to what a ranker can see: the content of the candidate and of the clicks, and which items those were.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

if TYPE_CHECKING:
    from tfx_pipeline.studies.worlds.parts import Weights, World
    from tfx_pipeline.studies.worlds.population import Items

# Strengths of text and image in the average.
_TEXT, _IMAGE = 12.0, 7.0
# Cosines between which two items go from not alike to alike. Within a topic they are about 0.67, across topics 0.
_UNLIKE, _LIKE = 0.25, 0.55
# Clicks on the like of an item after which its user wants less of it.
_ENOUGH = 1.5
# So little likeness says only half of what it could.
_DOUBT = 0.1


class Recall(Protocol):
    """Contributions to the logit, of candidates given recent clicks."""

    memory: ClassVar[int]
    """clicks that still move a user"""

    def __call__(self, slate: np.ndarray, clicks: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Content and interaction, float64 [slate] each.

        Args:
            slate: int [slate], items.
            clicks: at most `memory` items, at least one, oldest first.
        """
        ...


def make_recall(world: World, items: Items, weights: Weights) -> Recall:
    """The recall of a world."""
    kinds: dict[str, Callable[[Items, Weights], Recall]] = {
        "average": AverageRecall,
        "count": CountingRecall,
        "hidden": HiddenRecall,
    }
    return kinds[world.recall](items, weights)


class AverageRecall:
    """Each click pulls at what is alike, and the pulls are averaged over the last clicks.

        content = w_c L / (L + 2) mean_j (12 text_nj + 7 image_nj)
        interaction = w_x L / (L + 2) mean_j text_nj same_nj

    text and image are squared cosines less their average over the catalogue, same is 1 for two items of one hidden
    cluster; the first clicks say less than the fifth.
    """

    memory: ClassVar[int] = 20

    def __init__(self, items: Items, weights: Weights) -> None:
        text, image = _squared_cosine(items.text, items.has_text), _squared_cosine(items.image, items.has_image)
        both = text * (items.tastes[:, None] == items.tastes[None, :])
        content = _TEXT * weights.content * (text - text.mean()) + _IMAGE * weights.content * (image - image.mean())
        self._content = content.astype(np.float32)
        self._pull = (content + weights.interaction * (both - both.mean())).astype(np.float32)

    def __call__(self, slate: np.ndarray, clicks: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """See `Recall`."""
        pairs = np.ix_(slate, np.asarray(clicks))
        pull, content = (
            matrix[pairs].mean(axis=1) * len(clicks) / (len(clicks) + 2) for matrix in (self._pull, self._content)
        )
        # Their sum in float64 is the pull, exactly.
        return content.astype(np.float64), pull.astype(np.float64) - content.astype(np.float64)


class CountingRecall:
    """How many of the last clicks are alike, and whether those that are alike are also of the item's hidden kind.

        content = w_c f(c_n),  c_n = sum_j alike_nj,  f(c) = (c / 1.5) exp(1 - c / 1.5)
        interaction = w_x sum_j alike_nj s_n s_j / (0.1 + c_n)

    alike rises from 0 to 1 with the cosine of the texts, and is 0 for the item itself. A few clicks on the like of an
    item make its user want more, many are enough: f rises to 1 and falls again. So content is about a count: two of
    three and two of thirty are the same to it, though their averages are not.
    s is +1 for one half of each topic's items and -1 for the other, such as two brands: who clicked tents of one brand
    wants tents of that brand and not of the other. Contents do not tell the halves apart, and both are shown as often:
    interaction is zero on average to who knows contents alone or the candidate alone, and little to who knows which
    clicks were of its half but not which are alike.
    """

    memory: ClassVar[int] = 50

    def __init__(self, items: Items, weights: Weights) -> None:
        self._alike = _ramp(items.text, items.has_text)
        # Or else what is shown often, and so clicked before, would be of the kind of its own click.
        np.fill_diagonal(self._alike, 0)
        self._kind = _kinds(items)
        self._weights = weights

    def __call__(self, slate: np.ndarray, clicks: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """See `Recall`."""
        alike = self._alike[np.ix_(slate, np.asarray(clicks))]
        count = alike.sum(axis=1)
        same = self._kind[slate] * (alike @ self._kind[clicks])
        return self._weights.content * _appetite(count), self._weights.interaction * same / (_DOUBT + count)


class HiddenRecall:
    """Each click pulls at what is alike in the hidden part of the text, and the pulls are averaged.

        content = w_c L / (L + 2) mean_j interest_n . interest_j

    The mean cosine of the hidden parts is all there is to know of the history; that of the whole texts is mostly about
    something else. There is no interaction.
    """

    memory: ClassVar[int] = 20

    def __init__(self, items: Items, weights: Weights) -> None:
        if items.interest is None:
            raise ValueError("a hidden recall takes items with a hidden interest, see `with_hidden_interest`")
        alike = items.interest @ items.interest.T
        known = items.has_text[:, None] & items.has_text[None, :]
        # As much for every item on average, so that what is alike to much is not better than the rest.
        self._pull = weights.content * np.where(known, alike - alike.mean(axis=1, keepdims=True), 0)

    def __call__(self, slate: np.ndarray, clicks: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """See `Recall`."""
        pull = self._pull[np.ix_(slate, np.asarray(clicks))].mean(axis=1) * len(clicks) / (len(clicks) + 2)
        return pull, np.zeros(len(slate))


def _kinds(items: Items) -> np.ndarray:
    """+1 or -1 per item: in each topic one is shown as often as the other."""
    kinds = np.empty(len(items.topics))
    for topic in np.unique(items.topics):
        members = np.flatnonzero(items.topics == topic)
        surplus = 0.0
        for item in members[np.argsort(-items.popularity[members])]:
            kinds[item] = -1.0 if surplus > 0 else 1.0
            surplus += kinds[item] * items.exposure[item]
    return kinds


def _appetite(count: np.ndarray) -> np.ndarray:
    return np.asarray(count / _ENOUGH * np.exp(1 - count / _ENOUGH))


def _cosine(vectors: np.ndarray) -> np.ndarray:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine: np.ndarray = unit @ unit.T
    return cosine


def _squared_cosine(vectors: np.ndarray, present: np.ndarray) -> np.ndarray:
    """[I, I] in [0, 1]; the average of the others where either side has no embedding."""
    alike = np.maximum(_cosine(vectors), 0) ** 2
    known = present[:, None] & present[None, :]
    return np.asarray(np.where(known, alike, alike[known].mean()))


def _ramp(vectors: np.ndarray, present: np.ndarray) -> np.ndarray:
    """[I, I] in [0, 1]; 0 where either side has no embedding."""
    alike = np.clip((_cosine(vectors) - _UNLIKE) / (_LIKE - _UNLIKE), 0, 1)
    known = present[:, None] & present[None, :]
    return np.asarray(alike * known)
