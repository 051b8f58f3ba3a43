"""The answer to a ranking call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from serving.client.user_state import UserState


class RankedItem(NamedTuple):
    """One candidate with its score: a probability or, of a model of several objectives, a formula of such."""

    item: str
    score: float


class Ranking(Sequence[RankedItem]):
    """Candidates by descending score; equal scores keep the order of the request.

    A sequence of `RankedItem`: `ranking[0].item`, `for item, score in ranking`, `len(ranking)`.

    Args:
        candidates: ids in the order of the request.
        scores: float32 [N], of each candidate in the order of the request.
        model_version: the version that scored all of them; None when nothing was scored.
        state: see the attribute.
        objectives: probabilities float32 [N] by objective, in the order of the request.

    Attributes:
        items: ids, best first.
        scores: float32 [N], in the order of `items`.
        positions: int64 [N]: where each of `items` stood in the request, so `request[positions[i]] == items[i]`.
        scores_in_request_order: float32 [N], one score for each candidate of the request.
        model_version: the version that scored all of them; None for an empty ranking of `rank`.
        state: after `score`, the user state that was used: the one given or, when its version was gone, the one
            encoded anew. Keep it in place of the given one. None after `rank`.
        objectives: where they were asked for, the probabilities float32 [N] of each objective in the order of `items`;
            of a conditional one p(this given its condition).
    """

    def __init__(
        self,
        candidates: Sequence[str],
        scores: NDArray[np.float32],
        model_version: int | None,
        state: UserState | None = None,
        objectives: Mapping[str, NDArray[np.float32]] | None = None,
    ):
        self.positions: NDArray[np.int64] = np.argsort(-scores, kind="stable").astype(np.int64)
        self.items: tuple[str, ...] = tuple(map(candidates.__getitem__, self.positions.tolist()))
        self.scores: NDArray[np.float32] = scores[self.positions]
        self.scores_in_request_order = scores
        self.model_version = model_version
        self.state = state
        self.objectives: dict[str, NDArray[np.float32]] = {
            name: values[self.positions] for name, values in (objectives or {}).items()
        }
        arrays: list[NDArray[Any]] = [self.positions, self.scores, self.scores_in_request_order]
        for array in (*arrays, *self.objectives.values()):
            array.flags.writeable = False

    def top(self, count: int) -> list[RankedItem]:
        """The best `count` candidates, or all when there are fewer.

        Raises:
            ValueError: for a negative count.
        """
        if count < 0:
            raise ValueError(f"count must not be negative, got {count}")
        return self[:count]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[RankedItem]:
        return (RankedItem(item, float(score)) for item, score in zip(self.items, self.scores, strict=True))

    @overload
    def __getitem__(self, index: int) -> RankedItem: ...

    @overload
    def __getitem__(self, index: slice) -> list[RankedItem]: ...

    def __getitem__(self, index: int | slice) -> RankedItem | list[RankedItem]:
        if isinstance(index, slice):
            pairs = zip(self.items[index], self.scores[index], strict=True)
            return [RankedItem(item, float(score)) for item, score in pairs]
        return RankedItem(self.items[index], float(self.scores[index]))

    def __repr__(self) -> str:
        best = f", best {self[0].item!r} {self[0].score:.4f}" if len(self) else ""
        return f"<Ranking of {len(self)} items by version {self.model_version}{best}>"
