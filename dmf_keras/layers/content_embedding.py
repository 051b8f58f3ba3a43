"""Frozen content vectors of the catalogue, by row."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from dmf_keras.checks import check_choice, check_count, check_kind
from dmf_keras.ops.rows import take_rows
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor

STORAGE_DTYPES = ("int8", "float16", "float32")
_INT8_LEVELS = 127


@dmf_keras_export("dmf_keras.layers.ContentEmbedding")
class ContentEmbedding(keras.layers.Layer):
    """Looks up unit-length content vectors and whether there are any.

    The rows are not trained: `set_rows` fills them, before training or after it, and they are saved with the model. New
    rows of the same encoder need no new training: whatever is computed from the vectors follows them.
    Row 0 means "no content" and other rows may be empty too: such a vector is all zeros and its presence false, which
    is a state of its own and not a cosine of 0.

    Args:
        rows: int, rows of the table, row 0 included.
        dim: int, width of a vector.
        storage_dtype: how rows are kept; only those that are looked up become float32.
            "float32": exact.
            "float16": half the memory; a cosine moves by at most 1e-3.
            "int8": a quarter, and 4 bytes a row. x is kept as round(127 x / m), m = max |x_i|, with a float32 scale
            that makes the row unit length again. That turns x by at most `asin(m sqrt(dim) / 254)`, and a cosine moves
            by at most the sum of the angles of its two sides; in practice by 5e-4, as m is near 3 / sqrt(dim).

    Examples:

    >>> from dmf_keras.layers import ContentEmbedding
    >>> layer = ContentEmbedding(rows=4, dim=2, storage_dtype="float32")
    >>> layer.set_rows(np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0], [0.0, 1.0]]))
    >>> vectors, present = layer(np.array([[1, 2]]))
    >>> np.round(keras.ops.convert_to_numpy(vectors).astype(float), 3).tolist()
    [[[0.6, 0.8], [0.0, 0.0]]]
    >>> keras.ops.convert_to_numpy(present).tolist()
    [[True, False]]

    References:
        DMF, arXiv:2510.11066, whose content embeddings are frozen as here.
    """

    def __init__(self, rows: int, dim: int, storage_dtype: str = "float16", **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.rows = check_count("rows", rows)
        self.dim = check_count("dim", dim)
        self.storage_dtype = check_choice("storage_dtype", storage_dtype, STORAGE_DTYPES)
        self.table: Any = None
        self.scale: Any = None
        self.present: Any = None

    def build(self, rows_shape: Any = None) -> None:
        """Creates the weights."""
        # Without autocast=False a dtype policy would convert the whole table at every look-up.
        fixed: dict[str, Any] = {"initializer": "zeros", "trainable": False, "autocast": False}
        self.table = self.add_weight(name="table", shape=(self.rows, self.dim), dtype=self.storage_dtype, **fixed)
        if self.storage_dtype == "int8":
            self.scale = self.add_weight(name="scale", shape=(self.rows,), dtype="float32", **fixed)
        self.present = self.add_weight(name="present", shape=(self.rows,), dtype="bool", **fixed)

    def set_rows(self, matrix: np.ndarray, present: np.ndarray | None = None) -> None:
        """Replaces all rows, normalised to unit length; rows beyond the matrix become empty.

        Args:
            matrix: float [at most `rows`, dim]; row 0 is never present, whatever it holds.
            present: bool [as many]; absent: the rows that are not all zeros.

        Raises:
            ValueError: wrong shapes, more rows than the table has, values that are not finite, or a zero vector that is
                said to be present.
        """
        matrix = np.asarray(matrix)
        if matrix.ndim != 2 or matrix.shape[1] != self.dim or not 1 <= matrix.shape[0] <= self.rows:
            raise ValueError(
                f"`matrix` must have shape (1 to {self.rows}, {self.dim}). Received: {matrix.shape}. For more rows, "
                "build the model with a larger `content_rows`"
            )
        matrix = matrix.astype(np.float32)
        norms = np.sqrt(np.einsum("rd,rd->r", matrix, matrix, dtype=np.float64))
        if not np.isfinite(norms).all():
            raise ValueError(f"`matrix` must be finite. Received: row {int(np.argmin(np.isfinite(norms)))} is not")
        present = norms > 0 if present is None else np.asarray(present)
        if present.shape != norms.shape or present.dtype != bool:
            raise ValueError(f"`present` must be bool {norms.shape}. Received: {present.dtype} {present.shape}")
        present = np.concatenate([[False], present[1:]])
        if (empty := present & (norms == 0)).any():
            raise ValueError(f"a present row must not be a zero vector. Received: row {int(np.argmax(empty))}")
        unit = np.where(present[:, None], matrix / np.where(norms > 0, norms, 1)[:, None], 0)
        missing = self.rows - len(unit)
        if self.table is None:
            self.build()
        if self.storage_dtype == "int8":
            stored, scale = _quantize(unit)
            self.scale.assign(np.pad(scale, (0, missing)))
        else:
            stored = unit.astype(self.storage_dtype)
        self.table.assign(np.pad(stored, ((0, missing), (0, 0))))
        self.present.assign(np.pad(present, (0, missing)))

    def call(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors float32 [..., dim], of unit length or zero, and presence bool [...] of `rows` int [...].

        Float32 under every dtype policy: the vectors only go into cosines, whose bucket edges do not forgive rounding.

        Raises:
            ValueError: `rows` are not integers.
        """
        check_kind("rows", rows, "int")
        vectors = ops.cast(take_rows(self.table, rows), "float32")
        if self.scale is not None:
            vectors = vectors * ops.expand_dims(take_rows(self.scale, rows), -1)
        return vectors, take_rows(self.present, rows)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {**super().get_config(), "rows": self.rows, "dim": self.dim, "storage_dtype": self.storage_dtype}


def _quantize(unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Int8 [rows, dim] and the float32 scale [rows] that gives them unit length, 0 for rows of zeros."""
    peak = np.abs(unit).max(axis=1, keepdims=True)
    levels = np.rint(unit * (_INT8_LEVELS / np.where(peak > 0, peak, 1))).astype(np.int8)
    # Not max-abs / 127, which would leave a length of 1 only up to rounding and cost a root at every look-up.
    norms = np.sqrt(np.einsum("rd,rd->r", levels, levels, dtype=np.float64))
    return levels, np.divide(1, norms, out=np.zeros(len(norms), np.float32), where=norms > 0, casting="same_kind")
