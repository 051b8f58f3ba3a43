"""Semantic ids of items, embedded at several resolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from dmf_keras.checks import check_count, check_counts, check_kind
from dmf_keras.ops.rows import take_rows
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor

# Of multiplicative hashing (Knuth): neighbouring numbers spread over all rows.
_MULTIPLIER = 2_654_435_761


@dmf_keras_export("dmf_keras.layers.SemanticIdEmbedding")
class SemanticIdEmbedding(keras.layers.Layer):
    """Looks up the semantic ids of items in a table that it holds, and embeds them at several resolutions.

    An item has a code s_l per level. Each level is a resolution, and so is each pair of levels that follow each other:

        e_k = E_k[s_k],  k = 1 ... L        e_(L+k) = E_(L+k)[(s_k, s_(k+1))],  k = 1 ... L - 1
        alpha = softmax_k(q_k . e_k + b_k)
        e = sum_k alpha_k e_k

    with a query q_k and a bias b_k per resolution, both of which start at zero. A pair has a row of its own where there
    are no more than `pair_rows` pairs; beyond, pairs share rows by a hash.

    The table of codes is not trained: `set_rows` fills it, before training or after it, and it is saved with the model.
    An item without codes is exact zeros. The softmax is in float32 under every dtype policy.

    Args:
        rows: int, rows of the table, row 0 included, which is an item outside the catalogue.
        sizes: of each level how many codes there are; codes are 1 to the size, 0 is none.
        dim: int, width of the embedding.
        pair_rows: int, rows of each pair of levels at most.

    Examples:

    >>> from dmf_keras.layers import SemanticIdEmbedding
    >>> layer = SemanticIdEmbedding(rows=4, sizes=[8, 8, 8], dim=6)
    >>> layer.set_rows(np.array([[0, 0, 0], [3, 1, 8], [3, 1, 2], [0, 0, 0]]))
    >>> vectors, present = layer(np.array([[1, 2, 3]]))
    >>> tuple(vectors.shape), keras.ops.convert_to_numpy(present).tolist()
    ((1, 3, 6), [[True, True, False]])

    Raises:
        ValueError: no levels, or sizes that are no positive integers.

    References:
        SID-Coord, arXiv:2604.10471 (resolutions: levels and pairs of adjacent levels, weighted by attention).
    """

    def __init__(self, rows: int, sizes: Sequence[int], dim: int = 32, pair_rows: int = 100_000, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.rows = check_count("rows", rows)
        self.sizes = check_counts("sizes", sizes)
        self.dim = check_count("dim", dim)
        self.pair_rows = check_count("pair_rows", pair_rows)
        pairs = [min(one * other, pair_rows) for one, other in zip(self.sizes[:-1], self.sizes[1:], strict=True)]
        # Of each resolution, without row 0, which nothing looks at.
        self._embedded = [*self.sizes, *pairs]
        self._offsets = np.cumsum([0, *self._embedded[:-1]]).astype(np.int32) - 1
        self.table: Any = None

    @property
    def resolutions(self) -> int:
        """Levels and pairs of them."""
        return len(self._embedded)

    def build(self, rows_shape: Any = None) -> None:
        """Creates the weights."""
        self.table = self.add_weight(
            name="table",
            shape=(self.rows, self.resolutions),
            dtype="int32",
            initializer="zeros",
            trainable=False,
            autocast=False,
        )
        self.embeddings = self.add_weight(
            name="embeddings", shape=(sum(self._embedded), self.dim), initializer="uniform", autocast=False
        )
        self.queries = self.add_weight(
            name="queries", shape=(self.resolutions, self.dim), initializer="zeros", autocast=False
        )
        self.bias = self.add_weight(name="bias", shape=(self.resolutions,), initializer="zeros", autocast=False)

    def set_rows(self, codes: np.ndarray) -> None:
        """Replaces the codes of all items; rows beyond those given have none.

        Args:
            codes: int [at most `rows`, L], from 1 to the level's size, or 0 at all levels of an item without codes.
                Row 0 has none, whatever it holds.

        Raises:
            ValueError: wrong shape or dtype, codes out of range, or items with codes at some levels alone.
        """
        codes = np.asarray(codes)
        levels = len(self.sizes)
        if (
            codes.ndim != 2
            or codes.shape[1] != levels
            or not 1 <= len(codes) <= self.rows
            or codes.dtype.kind not in "iu"
        ):
            raise ValueError(f"`codes` must be int (1 to {self.rows}, {levels}). Received: {codes.dtype} {codes.shape}")
        if (codes < 0).any() or (codes > self.sizes).any():
            raise ValueError(
                f"`codes` must be from 0 to {self.sizes} by level. Received: up to {codes.max(axis=0).tolist()}, "
                f"from {codes.min(axis=0).tolist()}"
            )
        coded = codes[:, 0] > 0
        if ((codes > 0) != coded[:, None]).any():
            raise ValueError(
                "`codes` must be 0 at all levels or at none. Received: items with codes at some levels alone"
            )
        if self.table is None:
            self.build()
        table = np.zeros((self.rows, self.resolutions), np.int32)
        table[: len(codes), :levels] = codes
        for first, size in enumerate(self.sizes[1:]):
            pair = (codes[:, first].astype(np.int64) - 1) * size + codes[:, first + 1] - 1
            if self.sizes[first] * size > self.pair_rows:
                pair = pair * _MULTIPLIER % 2**32 % self.pair_rows
            table[: len(codes), levels + first] = np.where(coded, pair + 1, 0)
        table[0] = 0
        self.table.assign(table)

    def call(self, rows: Tensor, return_weights: bool = False) -> Any:
        """Vectors of items.

        Args:
            rows: int [...].
            return_weights: whether to return alpha too.

        Returns:
            e [..., dim] in the compute dtype; bool [...], whether the item has codes; and, if asked for, alpha float32
            [..., 2 L - 1].

        Raises:
            ValueError: `rows` are not integers.
        """
        check_kind("rows", rows, "int")
        ids = take_rows(self.table, rows)
        present = ids[..., 0] > 0
        # Items without codes read row 0 of the first resolution, and are masked.
        places = ops.maximum(ids + self._offsets, 0)
        embedded = ops.cast(take_rows(self.embeddings, places), "float32")
        logits = ops.sum(embedded * ops.cast(self.queries, "float32"), axis=-1) + ops.cast(self.bias, "float32")
        weights = ops.softmax(logits, axis=-1) if self.resolutions > 1 else ops.ones_like(logits)
        vectors = ops.sum(ops.expand_dims(weights, -1) * embedded, axis=-2)
        vectors = ops.cast(ops.where(ops.expand_dims(present, -1), vectors, 0.0), self.compute_dtype)
        return (vectors, present, weights) if return_weights else (vectors, present)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        own = {"rows": self.rows, "sizes": list(self.sizes), "dim": self.dim, "pair_rows": self.pair_rows}
        return {**super().get_config(), **own}
