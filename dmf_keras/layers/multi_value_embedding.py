"""A column of several values: the mean of their embeddings."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from dmf_keras.checks import check_count, check_kind
from dmf_keras.ops.masked import masked_mean
from dmf_keras.ops.rows import take_rows
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.layers.MultiValueEmbedding")
class MultiValueEmbedding(keras.layers.Layer):
    """Embeds lists of indices as the mean of their embeddings.

        mean over {w : i_w != 0} of E[i_w],   E[0] where there is no such w

    Index 0 is padding, wherever it stands: how far a list is padded changes nothing. Row 0 of the table is that of a
    list without any value, and is trained as any other. A value that a list repeats counts as often as it is there.

    Args:
        rows: int, rows of the table, row 0 included.
        dim: int, width of an embedding.

    Examples:

    >>> from dmf_keras.layers import MultiValueEmbedding
    >>> layer = MultiValueEmbedding(rows=5, dim=8)
    >>> tuple(layer(np.array([[1, 4, 0], [0, 0, 0]])).shape)
    (2, 8)

    Raises:
        ValueError: sizes that are no positive integers.

    References:
        Covington et al. 2016, Deep neural networks for YouTube recommendations: multivalent features are averaged.
    """

    def __init__(self, rows: int, dim: int = 16, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.rows = check_count("rows", rows)
        self.dim = check_count("dim", dim)
        self.table: Any = None

    def build(self, indices_shape: Any = None) -> None:
        """Creates the table."""
        self.table = self.add_weight(name="table", shape=(self.rows, self.dim), initializer="uniform", autocast=False)

    def call(self, indices: Tensor) -> Tensor:
        """Embeddings [..., dim] of lists of indices, int [..., W].

        Raises:
            ValueError: they are not integers.
        """
        check_kind("indices", indices, "int")
        real = ops.not_equal(indices, 0)
        mean = masked_mean(take_rows(self.table, indices), real, axis=len(indices.shape) - 1)
        some = ops.any(real, axis=-1, keepdims=True)
        return ops.cast(ops.where(some, mean, self.table[0]), self.compute_dtype)

    def compute_output_shape(self, indices_shape: Any) -> tuple[int | None, ...]:
        """[..., dim]."""
        return (*indices_shape[:-1], self.dim)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {**super().get_config(), "rows": self.rows, "dim": self.dim}
