"""One vector of a history, whose items weigh by what they are and by how recent they are."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from dmf_keras.checks import check_axis, check_count, check_kind, check_rank
from dmf_keras.ops.masked import masked_softmax, without_padding
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.layers.AttentionPooling")
class AttentionPooling(keras.layers.Layer):
    """Additive attention without a target: a mean of the history that learns which items count.

        a_j = v . tanh(W x_j + b) + r_k(j),    o = sum_j softmax(a)_j x_j

    k(j) counts real items from the most recent one, 0, to the oldest; all from `positions` - 1 on share r's last
    value. Padding may lie anywhere and changes nothing; of an empty history o is zeros. r starts at zero: training
    knows no order at first.

    Args:
        units: int, width of W.
        positions: int, K, how many places from the end of the history have a weight of their own.
        kernel_initializer: of W and v.

    Examples:

    >>> from dmf_keras.layers import AttentionPooling
    >>> layer = AttentionPooling(units=8, positions=20)
    >>> pooled = layer(np.ones((2, 5, 16), "float32"), np.array([[True] * 5, [False] * 5]))
    >>> tuple(pooled.shape), bool(keras.ops.any(pooled[1] != 0))
    ((2, 16), False)

    References:
        The attention of LSTUR and NAML, news recommenders (Wu et al. 2019, arXiv:1907.05576); r is this library's.
    """

    def __init__(self, units: int, positions: int, kernel_initializer: Any = "glorot_uniform", **kwargs: Any) -> None:
        # Without autocast=False a mixed policy would convert what padding holds too.
        super().__init__(autocast=False, **kwargs)
        self.units = check_count("units", units)
        self.positions = check_count("positions", positions)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, history_shape: Any, history_mask_shape: Any = None) -> None:
        """Creates the weights."""
        self.width = history_shape[-1]
        self.dense = keras.layers.Dense(
            self.units,
            activation="tanh",
            kernel_initializer=self.kernel_initializer.clone(),
            dtype=self.dtype_policy,
            name="dense",
        )
        self.dense.build((None, self.width))
        self.vector = self.add_weight(name="vector", shape=(self.units,), initializer=self.kernel_initializer.clone())
        self.recency = self.add_weight(name="recency", shape=(self.positions,), initializer="zeros")

    def call(self, history: Tensor, history_mask: Tensor) -> Tensor:
        """The pooled vectors.

        Args:
            history: float [B, L, D], the oldest item first; what is masked may be anything.
            history_mask: bool [B, L], false for padding.

        Returns:
            float32 [B, D]; zeros where the history is empty.

        Raises:
            ValueError: another width than that of `build`, or a mask that is not boolean or of another shape.
        """
        check_rank("history", history, "batch history width")
        check_axis("history", history, 2, self.width, "the layer was built for")
        check_kind("history_mask", history_mask, "bool")
        check_rank("history_mask", history_mask, "batch history")
        check_axis("history_mask", history_mask, 1, history.shape[1], "the length of the history")
        known = ops.cast(without_padding(history, history_mask), self.compute_dtype)
        logits = ops.matmul(self.dense(known), ops.expand_dims(ops.cast(self.vector, self.compute_dtype), -1))[..., 0]
        real = ops.cast(history_mask, "int32")
        from_end = ops.sum(real, axis=1, keepdims=True) - ops.cumsum(real, axis=1)
        places = ops.clip(from_end, 0, self.positions - 1)
        logits = ops.cast(logits, "float32") + ops.take(ops.cast(self.recency, "float32"), places)
        weights = ops.expand_dims(masked_softmax(logits, history_mask), 1)
        return ops.matmul(weights, ops.cast(known, "float32"))[:, 0]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {
            **super().get_config(),
            "units": self.units,
            "positions": self.positions,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
