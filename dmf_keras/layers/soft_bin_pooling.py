"""Numbers of pairs, embedded by soft bins and pooled over the history."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from dmf_keras.checks import check_count, check_kind, check_rank
from dmf_keras.ops.masked import masked_logit
from dmf_keras.ops.shapes import rows
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor

_SLOPE = 0.2


@dmf_keras_export("dmf_keras.layers.SoftBinPooling")
class SoftBinPooling(keras.layers.Layer):
    """Embeds a number of each (candidate, history item) pair by bins that it learns, and pools over the history.

        h = leaky_relu(w S),  z = W h + a h,  p = softmax(z / tau),  m = sum_k p_k E_k
        out = [mean_l m_l, max_l m_l]

    with K bins and slope 0.2. As leaky_relu(w S) is |S| leaky_relu(w sign S), z is |S| times one of two vectors, which
    are computed once and not per pair. What is masked may be anything; where all of a candidate's pairs are, the output
    is exact zeros. Computed in float32 under every dtype policy.

    Args:
        bins: int, K.
        dim: int, width of an embedding E_k.
        skip: float, a.
        temperature: float above 0, tau.

    Examples:

    >>> from dmf_keras.layers import SoftBinPooling
    >>> cosines = np.array([[[0.9, -0.2, np.nan], [0.1, 0.3, np.nan]]], "float32")
    >>> mask = np.array([[[True, True, False], [True, False, False]]])
    >>> tuple(SoftBinPooling(bins=4, dim=3)(cosines, mask).shape)
    (1, 2, 6)

    Raises:
        ValueError: sizes that are no positive integers, or a temperature that is not above 0.

    References:
        AutoDis, arXiv:2012.08986. SID-Coord, arXiv:2604.10471 (both pools of the embedded cosines).
    """

    def __init__(self, bins: int = 8, dim: int = 8, skip: float = 0.5, temperature: float = 0.1, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.bins, self.dim = check_count("bins", bins), check_count("dim", dim)
        if not temperature > 0:
            raise ValueError(f"`temperature` must be above 0. Received: {temperature!r}")
        self.skip, self.temperature = float(skip), float(temperature)

    @property
    def width(self) -> int:
        """Of the output."""
        return 2 * self.dim

    def build(self, values_shape: Any = None, pair_mask_shape: Any = None) -> None:
        """Creates the weights."""
        shapes = {"scale": (1, self.bins), "kernel": (self.bins, self.bins)}
        self.scale, self.kernel = (
            self.add_weight(name=name, shape=shape, initializer="glorot_uniform", autocast=False)
            for name, shape in shapes.items()
        )
        self.embeddings = self.add_weight(
            name="embeddings", shape=(self.bins, self.dim), initializer="uniform", autocast=False
        )

    def call(self, values: Tensor, pair_mask: Tensor) -> Tensor:
        """Both pools of all candidates.

        Args:
            values: float [B, N, L].
            pair_mask: bool [B, N, L], false where a pair does not count.

        Returns:
            [B, N, 2 dim] in the compute dtype: the mean, then the maximum.

        Raises:
            ValueError: wrong ranks or dtypes.
        """
        check_rank("values", values, "batch candidates history")
        check_kind("values", values, "float")
        check_rank("pair_mask", pair_mask, "batch candidates history")
        check_kind("pair_mask", pair_mask, "bool")
        # Bins come first: a softmax over the last axis of a few numbers takes several times as long.
        values = ops.where(pair_mask, ops.cast(values, "float32"), 0.0)
        # z / tau of S = 1 and of S = -1, [2, K, 1, 1, 1].
        scale = ops.cast(self.scale, "float32")
        hidden = ops.leaky_relu(ops.concatenate([scale, -scale], axis=0), negative_slope=_SLOPE)
        slopes = (ops.matmul(hidden, ops.cast(self.kernel, "float32")) + self.skip * hidden) / self.temperature
        slopes = ops.reshape(slopes, (2, self.bins, 1, 1, 1))
        logits = ops.relu(values) * slopes[0] + ops.relu(-values) * slopes[1]
        # A history may be empty, of which there is no maximum without an `initial`.
        least = masked_logit("float32")
        weights = ops.exp(logits - ops.max(logits, axis=0, initial=least))
        weights = weights * (ops.cast(pair_mask, "float32") / ops.sum(weights, axis=0))

        embeddings = ops.cast(self.embeddings, "float32")
        counted = ops.expand_dims(ops.sum(ops.cast(pair_mask, "float32"), axis=2), -1)
        # The mean of the embeddings is the embedding of the mean, K wide and not L times `dim`.
        mean = ops.einsum("kbn,kd->bnd", ops.sum(weights, axis=3), embeddings) / ops.maximum(counted, 1.0)
        flat = ops.matmul(ops.transpose(embeddings), ops.reshape(weights, (self.bins, rows(*ops.shape(values)))))
        embedded = ops.reshape(flat, (self.dim, *ops.shape(values))) + ops.where(pair_mask, 0.0, least)
        largest = ops.where(counted > 0, ops.transpose(ops.max(embedded, axis=3, initial=least), (1, 2, 0)), 0.0)
        return ops.cast(ops.concatenate([mean, largest], axis=-1), self.compute_dtype)

    def compute_output_shape(self, values_shape: Any, pair_mask_shape: Any = None) -> tuple[int | None, ...]:
        """[B, N, 2 dim]."""
        return (*values_shape[:2], self.width)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        own = {"bins": self.bins, "dim": self.dim, "skip": self.skip, "temperature": self.temperature}
        return {**super().get_config(), **own}
