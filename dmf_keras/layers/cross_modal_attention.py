"""What a vector takes from another one, head by head."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from dmf_keras.checks import check_axis, check_count
from dmf_keras.ops.masked import softmax
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.layers.CrossModalAttention")
class CrossModalAttention(keras.layers.Layer):
    """A vector and, beside it, what it takes from one other vector.

        w = softmax_h(q_h . k_h / sqrt(D / H)),    y = x + r (W_o [w_1 v_1, ..., w_H v_H] + b)
        q = W_q x,    k = W_k s,    v = W_v s

    There is one key for each query, so the softmax is over the heads: it says which parts of the source are taken, of
    a total of 1. With one head the weight is always 1, and what is taken is linear in s. r is one trained scalar.

    Args:
        heads: int, H, divides the width.
        residual: float, where r starts. The public code starts at 0, where nothing but r itself has a gradient.
        kernel_initializer: of all matrices.

    Examples:

    >>> from dmf_keras.layers import CrossModalAttention
    >>> layer = CrossModalAttention(heads=2)
    >>> taken = layer(np.ones((3, 5, 8), "float32"), np.ones((3, 5, 8), "float32"))
    >>> tuple(taken.shape)
    (3, 5, 8)

    References:
        `diff_msin` of MMCTR-Bench (hdu-yzl/MMCTR-Bench), for Diff-MSIN, arXiv:2508.21460.
    """

    def __init__(
        self, heads: int = 4, residual: float = 0.1, kernel_initializer: Any = "glorot_uniform", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.heads = check_count("heads", heads)
        self.residual = float(residual)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, vectors_shape: Any, source_shape: Any = None) -> None:
        """Creates the weights."""
        self.width = vectors_shape[-1]
        if self.width % self.heads:
            raise ValueError(f"`vectors` must have a multiple of {self.heads} heads as width. Received: {self.width}")
        self.query, self.key, self.value = (self._dense(name, use_bias=False) for name in ("query", "key", "value"))
        self.output_projection = self._dense("output_projection", use_bias=True)
        self.scale = self.add_weight(
            name="scale", shape=(), initializer=keras.initializers.Constant(self.residual), dtype="float32"
        )

    def _dense(self, name: str, use_bias: bool) -> keras.layers.Dense:
        layer = keras.layers.Dense(
            self.width,
            use_bias=use_bias,
            kernel_initializer=self.kernel_initializer.clone(),
            dtype=self.dtype_policy,
            name=name,
        )
        layer.build((None, self.width))
        return layer

    def call(self, vectors: Tensor, source: Tensor) -> Tensor:
        """What `vectors` become.

        Args:
            vectors: float [..., D], x.
            source: float [..., D], s.

        Returns:
            y [..., D] in the compute dtype.

        Raises:
            ValueError: a width that is not that of `build`.
        """
        for name, tensor in (("vectors", vectors), ("source", source)):
            check_axis(name, tensor, len(tensor.shape) - 1, self.width, "the layer was built")
        query, key, value = (self._by_head(x) for x in (self.query(vectors), self.key(source), self.value(source)))
        logits = ops.sum(ops.cast(query * key, "float32"), axis=-1) * (self.width // self.heads) ** -0.5
        weights = ops.cast(softmax(logits), value.dtype)
        taken = ops.reshape(ops.expand_dims(weights, -1) * value, ops.shape(vectors))
        scale = ops.cast(self.scale, self.compute_dtype)
        return ops.cast(vectors, self.compute_dtype) + scale * self.output_projection(taken)

    def _by_head(self, vectors: Tensor) -> Tensor:
        return ops.reshape(vectors, (*ops.shape(vectors)[:-1], self.heads, self.width // self.heads))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {
            **super().get_config(),
            "heads": self.heads,
            "residual": self.residual,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
