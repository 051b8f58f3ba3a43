"""What an encoder is given, and what it gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from tfx_pipeline.config.tables import ItemTable

# Items that a summary names.
_NAMED = 5


class Encoded(NamedTuple):
    """What became of some values.

    Attributes:
        vectors: float32 [values, width]; those of values that failed mean nothing.
        cut: bool [values], which of them had more tokens than are taken.
        failed: by place, why a value has no vector.
    """

    vectors: np.ndarray
    cut: np.ndarray
    failed: Mapping[int, str]


class LeftOut:
    """Items that have no vector: how many by reason, and some of them by name."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.named: list[str] = []

    def add(self, reason: str, item: str, why: str = "") -> None:
        """Counts an item, and names it where there is more to say than the reason."""
        self.counts[reason] += 1
        if why and len(self.named) < _NAMED:
            self.named.append(f"{item}: {why}")


class Contents(NamedTuple):
    """What the catalogue has to encode.

    Attributes:
        items: of the catalogue.
        ids: of the items that have something to encode.
        sources: of these, a digest of the encoder and of what it encodes.
        values: by source, what `Encoder.encode` takes.
        left_out: the other items.
    """

    items: int
    ids: Sequence[str]
    sources: Sequence[str]
    values: Mapping[str, Any]
    left_out: LeftOut


class Encoder(Protocol):
    """Makes vectors.

    Attributes:
        width: of the vectors.
        digest: 16 hex digits; of files or settings that change vectors it is another.
        block: values between two files on disk, which is what a kill can cost.
    """

    width: int
    digest: str
    block: int

    def read(self, table: ItemTable) -> Contents:
        """What the catalogue has for it.

        Raises:
            DataError: the catalogue cannot be read, or has nothing.
        """

    def encode(self, values: Sequence[Any], /) -> Encoded:
        """The vectors of values in their order.

        Raises:
            DataError: the model fails, or gives a value that is not finite.
        """
