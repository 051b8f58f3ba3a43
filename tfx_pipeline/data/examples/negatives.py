"""Sampled negatives: what a request of a log of positives alone shows beside its positives."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from tfx_pipeline.config.negatives import Negatives
from tfx_pipeline.config.schema import SPLITS
from tfx_pipeline.data.examples.requests import Request
from tfx_pipeline.data.examples.splits import Cuts


@dataclasses.dataclass(frozen=True)
class NegativePool:
    """What is drawn from.

    Attributes:
        items: ids, each once, ascending: a draw must not depend on the order in which workers found them.
        edges: float64 [n], ascending: sums of the items' weights up to each; None: all are alike.
    """

    items: Sequence[bytes]
    edges: np.ndarray | None = None

    @classmethod
    def of(cls, catalogue: Collection[bytes], positives: Mapping[bytes, int], negatives: Negatives) -> NegativePool:
        """The pool that the section asks for.

        Args:
            catalogue: ids of all items.
            positives: of items in the train split; nothing later may be in it.
            negatives: the section of the configuration.
        """
        if negatives.by == "uniform":
            return cls(sorted(catalogue))
        known = sorted(set(catalogue) & positives.keys())
        return cls(known, np.cumsum([positives[item] ** negatives.power for item in known]))

    def draw(self, rng: np.random.Generator, count: int, excluded: Collection[bytes]) -> list[bytes]:
        """Different items, none of `excluded`; fewer than `count` where no more are left."""
        if len(self.items) - len(excluded) < 2 * count:
            return self._of_few(rng, count, excluded)
        drawn: dict[bytes, None] = {}
        while len(drawn) < count:
            wanted = count - len(drawn)
            if self.edges is None:
                places = rng.integers(len(self.items), size=wanted)
            else:
                places = np.searchsorted(self.edges, rng.random(wanted) * self.edges[-1], side="right")
            drawn.update((item, None) for place in places.tolist() if (item := self.items[place]) not in excluded)
        return list(drawn)

    def _of_few(self, rng: np.random.Generator, count: int, excluded: Collection[bytes]) -> list[bytes]:
        """As `draw`, by looking at every item: most draws would hit what is excluded or drawn already."""
        left = [place for place, item in enumerate(self.items) if item not in excluded]
        shares = None if self.edges is None else np.diff(self.edges, prepend=0)[left]
        if not left:
            return []
        shares = None if shares is None else shares / shares.sum()
        places = rng.choice(left, min(count, len(left)), replace=False, p=shares)
        return [self.items[place] for place in places.tolist()]


class UserNegatives:
    """One user's requests with negatives beside their positives.

    Args:
        user: the id.
        requests: all of the user's, of positives alone.
        cuts: where the splits begin.
        negatives: the section of the configuration.
        pool: what is drawn from.
        given: by split, what a table has for the user; a split of `negatives.tables` that is not here: it lacks them.
    """

    def __init__(
        self,
        user: bytes,
        requests: Sequence[Request],
        cuts: Cuts,
        negatives: Negatives,
        pool: NegativePool,
        given: Mapping[str, Sequence[bytes]],
    ) -> None:
        self._seed = (negatives.seed, zlib.crc32(user))
        self._negatives = negatives
        self._pool = pool
        self._given = given
        self._had: dict[str, set[bytes]] = {split: set() for split in SPLITS}
        for request in requests:
            own = SPLITS.index(cuts.split_of(request.time_us))
            # What comes after a split must not be told by what is never drawn in it.
            for split in SPLITS[own:]:
                self._had[split].update(request.candidates)

    def complete(self, request: Request, split: str) -> Request:
        """The request with negatives behind its positives, drawn alike in every run; they have no row of the log."""
        had, asked = self._had[split], self._negatives.of(split)
        if isinstance(asked, int):
            rng = np.random.default_rng([*self._seed, request.time_us, zlib.crc32(request.candidates[0])])
            found = self._pool.draw(rng, asked * len(request.candidates), had)
        else:
            found = list(dict.fromkeys(item for item in self._given.get(split, ()) if item not in had))
        return dataclasses.replace(
            request, candidates=[*request.candidates, *found], labels=[*request.labels, *[0] * len(found)]
        )
