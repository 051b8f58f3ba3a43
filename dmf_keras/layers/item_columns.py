"""Columns of the catalogue, by row: category, tags, price."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from dmf_keras.checks import check_count, check_kind
from dmf_keras.ops.rows import take_rows
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.layers.ItemColumns")
class ItemColumns(keras.layers.Layer):
    """Looks up the columns of items in tables that it holds, and embeds them side by side.

    A column of names has `dim` outputs: the embedding of an item's name or, where it may have several, the mean of
    their embeddings. Each name has a trained row; row 0 is that of items without a name. A column of numbers has one
    output, the number as it is kept. The tables are not trained: `set_rows` fills them, before training or after it,
    and they are saved with the model. Row 0 of the tables is an item outside the catalogue: it has no names, and 0.

    All names lie in one table and have one embedding matrix, so that the number of columns adds no look-up.

    Args:
        rows: int, rows of the tables, row 0 included.
        names: by column of names, (embedding rows, names that are kept of an item).
        numbers: columns of numbers.
        dim: int, width of an embedding.

    Examples:

    >>> from dmf_keras.layers import ItemColumns
    >>> layer = ItemColumns(rows=3, names={"genres": (4, 2)}, numbers=["year"], dim=8)
    >>> layer.set_rows({"genres": np.array([[0, 0], [1, 3], [2, 0]]), "year": np.array([0.0, -1.5, 0.5])})
    >>> tuple(layer(np.array([[1, 2, 0]])).shape)
    (1, 3, 9)

    Raises:
        ValueError: no columns, or sizes that are no positive integers.

    References:
        Item features beside the ID, as in DIN, arXiv:1706.06978 (goods, shop and category).
    """

    def __init__(
        self, rows: int, names: Mapping[str, tuple[int, int]], numbers: Any = (), dim: int = 16, **kwargs: Any
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.rows = check_count("rows", rows)
        self.dim = check_count("dim", dim)
        self.names = {
            name: (check_count(f"names[{name!r}]", size), check_count(f"names[{name!r}]", width))
            for name, (size, width) in names.items()
        }
        self.numbers = tuple(numbers)
        if not self.names and not self.numbers:
            raise ValueError("there must be at least one column. Received: no `names` and no `numbers`")
        sizes, widths = ([each[part] for each in self.names.values()] for part in (0, 1))
        self._places, self._embedding_rows = sum(widths), sum(sizes)
        # First place of each column of names in the table, and at each place the column's first embedding row.
        self._first_place = dict(zip(self.names, itertools.accumulate(widths, initial=0), strict=False))
        self._row_offsets = np.repeat(np.cumsum([0, *sizes[:-1]]), widths).astype(np.int32) if sizes else None
        self.table: Any = None
        self.number_table: Any = None
        self.embeddings: Any = None

    @property
    def width(self) -> int:
        """Of the output."""
        return self.dim * len(self.names) + len(self.numbers)

    def build(self, rows_shape: Any = None) -> None:
        """Creates the weights."""
        fixed: dict[str, Any] = {"trainable": False, "autocast": False}
        if self.names:
            shape = (self.rows, self._places)
            self.table = self.add_weight(name="table", shape=shape, dtype="int32", initializer="zeros", **fixed)
            self.embeddings = self.add_weight(
                name="embeddings", shape=(self._embedding_rows, self.dim), initializer="uniform", autocast=False
            )
        if self.numbers:
            shape = (self.rows, len(self.numbers))
            self.number_table = self.add_weight(
                name="number_table", shape=shape, dtype="float32", initializer="zeros", **fixed
            )

    def set_rows(self, columns: Mapping[str, np.ndarray]) -> None:
        """Replaces all rows; rows beyond those given become empty.

        Args:
            columns: by name, for names int [at most `rows`, at most as many as are kept], each from 0 (none, which
                stands behind all others) to below the column's embedding rows; for numbers float [as many]. Row 0
                is empty, whatever it holds.

        Raises:
            ValueError: other columns than the layer's, wrong shapes, more rows than the tables have, indices out of
                range or numbers that are not finite.
        """
        expected = {*self.names, *self.numbers}
        if set(columns) != expected:
            raise ValueError(f"`columns` must be {sorted(expected)}. Received: {sorted(columns)}")
        if self.table is None and self.number_table is None:
            self.build()
        names = np.zeros((self.rows, self._places), np.int32)
        for name, (size, width) in self.names.items():
            ids = np.asarray(columns[name])
            if ids.ndim != 2 or not 1 <= len(ids) <= self.rows or ids.shape[1] > width or ids.dtype.kind not in "iu":
                raise ValueError(
                    f"column {name!r} must be int (1 to {self.rows}, at most {width}). "
                    f"Received: {ids.dtype} {ids.shape}"
                )
            if ids.size and not 0 <= ids.min() <= ids.max() < size:
                raise ValueError(
                    f"column {name!r} must be from 0 to {size - 1}. Received: from {ids.min()} to {ids.max()}"
                )
            first = self._first_place[name]
            names[: len(ids), first : first + ids.shape[1]] = ids
        numbers = np.zeros((self.rows, len(self.numbers)), np.float32)
        for place, name in enumerate(self.numbers):
            column = np.asarray(columns[name], np.float32)
            if column.ndim != 1 or not 1 <= len(column) <= self.rows or not np.isfinite(column).all():
                raise ValueError(
                    f"column {name!r} must be finite (1 to {self.rows},). Received: {column.shape}, "
                    f"{int((~np.isfinite(column)).sum())} of them not finite"
                )
            numbers[: len(column), place] = column
        names[0], numbers[0] = 0, 0
        if self.names:
            self.table.assign(names)
        if self.numbers:
            self.number_table.assign(numbers)

    def call(self, rows: Tensor) -> Tensor:
        """The columns [..., `width`] of `rows` int [...]: names in the order of `names`, then the numbers.

        Raises:
            ValueError: `rows` are not integers.
        """
        check_kind("rows", rows, "int")
        parts = []
        if self.names:
            ids = take_rows(self.table, rows)
            embedded = ops.cast(take_rows(self.embeddings, ids + self._row_offsets), self.compute_dtype)
            parts = [self._pooled(name, ids, embedded) for name in self.names]
        if self.numbers:
            parts.append(ops.cast(take_rows(self.number_table, rows), self.compute_dtype))
        return ops.concatenate(parts, axis=-1)

    def _pooled(self, name: str, ids: Tensor, embedded: Tensor) -> Tensor:
        """[..., dim] of [..., places] and [..., places, dim]: the mean over the names that an item has."""
        first, width = self._first_place[name], self.names[name][1]
        own = embedded[..., first : first + width, :]
        if width == 1:
            return own[..., 0, :]
        named = ops.cast(ids[..., first : first + width] != 0, self.compute_dtype)
        count = ops.sum(named, axis=-1, keepdims=True)
        # Without a name the row of "no name", which is in the first place, is all there is.
        weights = ops.where(count > 0, named / ops.maximum(count, 1), _first_only(named))
        return ops.sum(own * ops.expand_dims(weights, -1), axis=-2)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        names = {name: list(sizes) for name, sizes in self.names.items()}
        own = {"rows": self.rows, "names": names, "numbers": list(self.numbers), "dim": self.dim}
        return {**super().get_config(), **own}


def _first_only(like: Tensor) -> Tensor:
    """1 at the first place of the last dimension, which is at least 2, and 0 elsewhere."""
    return ops.concatenate([ops.ones_like(like[..., :1]), ops.zeros_like(like[..., 1:])], axis=-1)
