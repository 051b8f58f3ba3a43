"""How often items were shown and clicked, by row of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from dmf_keras.checks import check_count, check_kind
from dmf_keras.ops.rows import take_rows
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.layers.ItemStatistics")
class ItemStatistics(keras.layers.Layer):
    """Looks up counts of items in a table that it holds, and gives their logarithms.

        s_n = [log(1 + c_n1), ..., log(1 + c_nS)]

    The table is not trained: `set_rows` fills it, before training or after it, and it is saved with the model. Row 0 is
    an item outside the catalogue, which has counts of 0. The output is float32 under every dtype policy.

    Args:
        rows: int, rows of the table, row 0 included.
        names: of the counts, in the order of the output.

    Examples:

    >>> from dmf_keras.layers import ItemStatistics
    >>> layer = ItemStatistics(rows=3, names=["impressions", "positives"])
    >>> layer.set_rows({"impressions": np.array([0, 99, 9]), "positives": np.array([0, 9, 0])})
    >>> found = keras.ops.convert_to_numpy(layer(np.array([[1, 2, 0]])))
    >>> np.allclose(np.expm1(found), [[[99, 9], [9, 0], [0, 0]]], atol=1e-3)
    True

    Raises:
        ValueError: no names, or rows that are no positive integer.
    """

    def __init__(self, rows: int, names: Sequence[str], **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.rows = check_count("rows", rows)
        self.names = tuple(names)
        if not self.names:
            raise ValueError("there must be at least one count. Received: no `names`")
        self.table: Any = None

    @property
    def width(self) -> int:
        """Of the output."""
        return len(self.names)

    def build(self, rows_shape: Any = None) -> None:
        """Creates the table."""
        self.table = self.add_weight(
            name="table",
            shape=(self.rows, self.width),
            dtype="float32",
            initializer="zeros",
            trainable=False,
            autocast=False,
        )

    def set_rows(self, counts: Mapping[str, np.ndarray]) -> None:
        """Replaces all rows; rows beyond those given become 0.

        Args:
            counts: by name, numbers [at most `rows`] of at least 0. That of row 0 is 0, whatever it holds.

        Raises:
            ValueError: other counts than the layer's, wrong shapes, or numbers below 0 or not finite.
        """
        if set(counts) != set(self.names):
            raise ValueError(f"`counts` must be {sorted(self.names)}. Received: {sorted(counts)}")
        if self.table is None:
            self.build()
        table = np.zeros((self.rows, self.width), np.float32)
        for place, name in enumerate(self.names):
            column = np.asarray(counts[name], np.float64)
            if column.ndim != 1 or not 1 <= len(column) <= self.rows:
                raise ValueError(f"count {name!r} must be (1 to {self.rows},). Received: {column.shape}")
            if not (np.isfinite(column) & (column >= 0)).all():
                raise ValueError(f"count {name!r} must be finite and at least 0. Received: {column.min()} as smallest")
            table[: len(column), place] = np.log1p(column)
        table[0] = 0
        self.table.assign(table)

    def call(self, rows: Tensor) -> Tensor:
        """The logarithms float32 [..., S] of `rows` int [...].

        Raises:
            ValueError: `rows` are not integers.
        """
        check_kind("rows", rows, "int")
        return take_rows(self.table, rows)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {**super().get_config(), "rows": self.rows, "names": list(self.names)}
