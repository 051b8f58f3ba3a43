"""The answers of a model that retrieves: items of its catalogue, and a page of them."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

Entry = TypeVar("Entry")


class RetrievedItem(NamedTuple):
    """One item with its score in retrieval, which orders items of one answer and is no probability."""

    item: str
    score: float


class RecommendedItem(NamedTuple):
    """One item of a page, and how it came in.

    Attributes:
        item: its id.
        score: as that of `RankedItem`.
        retrieval_score: its score in retrieval.
        retrieval_rank: its place there, from 1 on.
    """

    item: str
    score: float
    retrieval_score: float
    retrieval_rank: int


class _Answer(Sequence[Entry], Generic[Entry]):
    """Items, the best first, as one version of the model answered them."""

    def __init__(self, items: Sequence[str], scores: NDArray[np.float32], model_version: int):
        self.items: tuple[str, ...] = tuple(items)
        self.scores = scores
        self.model_version = model_version
        scores.flags.writeable = False

    @abc.abstractmethod
    def _entry(self, place: int) -> Entry:
        """What stands at a place, from 0 on."""

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Entry]:
        return map(self._entry, range(len(self.items)))

    @overload
    def __getitem__(self, index: int) -> Entry: ...

    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...

    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        places = range(len(self.items))[index]
        return self._entry(places) if isinstance(places, int) else [self._entry(place) for place in places]

    def __repr__(self) -> str:
        best = f", best {self.items[0]!r} {float(self.scores[0]):.4f}" if self.items else ""
        return f"<{type(self).__name__} of {len(self)} items by version {self.model_version}{best}>"


class Retrieval(_Answer[RetrievedItem]):
    """The items of the catalogue that retrieval scores highest, best first: a sequence of `RetrievedItem`.

    Fewer than were asked for, perhaps none, where exclusion leaves no more.

    Attributes:
        items: ids, best first; what `rank` takes as candidates.
        scores: float32 [N], in the order of `items`.
        model_version: the version that retrieved them, to be named where they are ranked.
    """

    def _entry(self, place: int) -> RetrievedItem:
        return RetrievedItem(self.items[place], float(self.scores[place]))


class Recommendation(_Answer[RecommendedItem]):
    """A page for a user, retrieved and ranked by one version, best first: a sequence of `RecommendedItem`.

    Fewer than were asked for, perhaps none, where exclusion leaves no more.

    Args:
        items: ids, best first.
        scores: float32 [N].
        model_version: that answered.
        retrieval_scores: float32 [N].
        retrieval_ranks: int32 [N].
        objectives: probabilities float32 [N] by objective.
        page_scores: float32 [N]; None: `scores` order the page.

    Attributes:
        items: ids, best first.
        scores: float32 [N], in the order of `items`, as those of a `Ranking`.
        model_version: the version of both stages.
        retrieval_scores: float32 [N], in the order of `items`.
        retrieval_ranks: int32 [N], likewise: 1 of the item that retrieval scored highest.
        objectives: where they were asked for, as those of a `Ranking`.
        page_scores: float32 [N], falling: what orders the page. Of a model with `stages.ranking.retrieval_weight` the
            sum of `serving.page_order`, of any other `scores`.
    """

    def __init__(
        self,
        items: Sequence[str],
        scores: NDArray[np.float32],
        model_version: int,
        retrieval_scores: NDArray[np.float32],
        retrieval_ranks: NDArray[np.int32],
        objectives: Mapping[str, NDArray[np.float32]] | None = None,
        page_scores: NDArray[np.float32] | None = None,
    ):
        super().__init__(items, scores, model_version)
        self.retrieval_scores = retrieval_scores
        self.retrieval_ranks = retrieval_ranks
        self.objectives: dict[str, NDArray[np.float32]] = dict(objectives or {})
        self.page_scores = scores if page_scores is None else page_scores
        arrays: list[NDArray[Any]] = [retrieval_scores, retrieval_ranks, self.page_scores, *self.objectives.values()]
        for array in arrays:
            array.flags.writeable = False

    def _entry(self, place: int) -> RecommendedItem:
        return RecommendedItem(
            self.items[place],
            float(self.scores[place]),
            float(self.retrieval_scores[place]),
            int(self.retrieval_ranks[place]),
        )
