"""A tower over bags of indices, such as the hashed n-grams of a text."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from dmf_keras.checks import check_count, check_kind
from dmf_keras.layers.unit_projection import UnitProjection
from dmf_keras.ops.masked import masked_mean
from dmf_keras.ops.rows import take_rows
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.layers.BagTower")
class BagTower(keras.layers.Layer):
    """One vector of length 1 of a bag of indices: the mean of their embeddings, and a hidden layer.

        m = mean over {w : i_w != 0} of E[i_w]
        y = W gelu(V m + b) / |W gelu(V m + b)|,   zeros where there is no such w

    A text as the bag of its hashed n-grams needs no vocabulary: what is new has a row too, which it shares with others
    by chance. Index 0 is padding, wherever it stands: how far a bag is padded, and in which order, changes nothing.
    An index that a bag repeats counts as often as it is there. The mean and the length are computed in float32 under
    every dtype policy.

    Args:
        rows: int, rows of E, row 0 included, which is never read.
        dim: int, width of an embedding.
        hidden: int, width of the hidden layer.
        units: int, width of the output.

    Examples:

    >>> from dmf_keras.layers import BagTower
    >>> vectors = BagTower(rows=100, dim=8, hidden=16, units=4)(np.array([[1, 42, 0], [7, 0, 0]]))
    >>> tuple(vectors.shape), round(float(keras.ops.norm(vectors[0])), 4)
    ((2, 4), 1.0)

    Raises:
        ValueError: sizes that are no positive integers, or fewer than 2 rows.

    References:
        fastText, arXiv:1607.04606 (hashed character n-grams); Deep averaging networks, ACL 2015.
    """

    def __init__(self, rows: int, dim: int = 64, hidden: int = 256, units: int = 128, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.rows = check_count("rows", rows, 2)
        self.dim = check_count("dim", dim)
        self.hidden = check_count("hidden", hidden)
        self.units = check_count("units", units)
        self.projection = UnitProjection(self.units, dtype=self.dtype_policy, name="projection")

    def build(self, indices_shape: Any = None) -> None:
        """Creates E, V, b and W."""
        self.table = self.add_weight(name="table", shape=(self.rows, self.dim), initializer="uniform", autocast=False)
        self.kernel = self.add_weight(name="kernel", shape=(self.dim, self.hidden), initializer="glorot_uniform")
        self.bias = self.add_weight(name="bias", shape=(self.hidden,), initializer="zeros")
        self.projection.build((None, self.hidden))

    def call(self, indices: Tensor) -> Tensor:
        """Vectors of bags.

        Args:
            indices: int [..., W], not negative and below `rows`.

        Returns:
            [..., units] in the compute dtype, of length 1; zeros of a bag without any index.

        Raises:
            ValueError: they are not integers.
        """
        check_kind("indices", indices, "int")
        real = ops.not_equal(indices, 0)
        mean = masked_mean(take_rows(self.table, indices), real, axis=len(indices.shape) - 1)
        kernel, bias = (ops.cast(weight, self.compute_dtype) for weight in (self.kernel, self.bias))
        found = self.projection(ops.gelu(ops.matmul(ops.cast(mean, self.compute_dtype), kernel) + bias))
        return ops.where(ops.any(real, axis=-1, keepdims=True), found, ops.zeros_like(found))

    def compute_output_shape(self, indices_shape: Any) -> tuple[int | None, ...]:
        """[..., units]."""
        return (*indices_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        sizes = {"rows": self.rows, "dim": self.dim, "hidden": self.hidden, "units": self.units}
        return {**super().get_config(), **sizes}
