"""Target attention without a softmax: items that do not fit have no weight at all."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from dmf_keras.checks import check_axis, check_count, check_kind, check_rank
from dmf_keras.ops.masked import without_padding
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.layers.SparseTargetAttention")
class SparseTargetAttention(keras.layers.Layer):
    """Adaptive sparse target attention (ASTA of QIN).

        w_nj = relu(W_q e_n . W_k e_hj / sqrt(A)),    o_n = W_o sum_j w_nj W_v e_hj

    The weights are exactly 0 where candidate and history item do not fit, and are not normalised: their sum says how
    strong the interest is. One head, no biases. `W_o W_v e_hj` is computed once per user with the keys; per pair there
    is one number, and the largest tensors are [B, N, L].

    Padded history may be anything and has a weight of exactly 0; an empty history gives exact zeros.

    Args:
        dim: int, A, width of query and key, and of what W_v gives to W_o.
        kernel_initializer: of all four.

    Examples:

    >>> from dmf_keras.layers import SparseTargetAttention
    >>> candidates, history = np.ones((2, 5, 16), "float32"), np.ones((2, 4, 16), "float32")
    >>> history_mask = np.array([[True, True, False, False], [False] * 4])
    >>> layer = SparseTargetAttention(dim=32)
    >>> interest, weights = layer(candidates, history, history_mask, return_weights=True)
    >>> tuple(interest.shape), tuple(weights.shape)
    ((2, 5, 16), (2, 5, 4))

    References:
        QIN, arXiv:2504.17699, which adds the candidate to o_n: left to the caller. W_o is in its public code alone.
    """

    def __init__(self, dim: int = 64, kernel_initializer: Any = "glorot_normal", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dim = check_count("dim", dim)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, candidates_shape: Any, history_shape: Any) -> None:
        """Creates the weights."""
        self.candidates_width, self.history_width = candidates_shape[-1], history_shape[-1]
        self.query = self._projection("query", self.candidates_width, self.dim)
        self.key = self._projection("key", self.history_width, self.dim)
        self.value = self._projection("value", self.history_width, self.dim)
        self.output_projection = self._projection("output_projection", self.dim, self.history_width)

    def _projection(self, name: str, below: int, units: int) -> keras.layers.Dense:
        layer = keras.layers.Dense(
            units,
            use_bias=False,
            kernel_initializer=self.kernel_initializer.clone(),
            dtype=self.dtype_policy,
            name=name,
        )
        layer.build((None, below))
        return layer

    def encode_history(self, history: Tensor, history_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The user part.

        Args:
            history: float [B, L, D].
            history_mask: bool [B, L], false for padding, which may then be anything; absent: padding is finite.

        Returns:
            Keys [B, L, dim] and values [B, L, D] in the compute dtype.

        Raises:
            ValueError: wrong rank, dtype or size.
        """
        check_rank("history", history, "batch history width")
        check_axis("history", history, 2, self.history_width, "the layer was built for")
        if history_mask is not None:
            self._check_mask(history_mask, history.shape[1])
            history = without_padding(history, history_mask)
        return self.key(history), self.output_projection(self.value(history))

    def attend(
        self, candidates: Tensor, keys: Tensor, values: Tensor, history_mask: Tensor, return_weights: bool = False
    ) -> Any:
        """The candidate part.

        Args:
            candidates: float [B, N, D'].
            keys, values: of `encode_history`; finite, on padding too.
            history_mask: bool [B, L], false for padding.
            return_weights: bool.

        Returns:
            Interest [B, N, D] in the compute dtype, zeros for an empty history; with `return_weights` also the weights
            [B, N, L] in the compute dtype, exactly 0 on padding.

        Raises:
            ValueError: wrong rank, dtype or size.
        """
        check_rank("candidates", candidates, "batch candidates width")
        check_axis("candidates", candidates, 2, self.candidates_width, "the layer was built for")
        self._check_mask(history_mask, keys.shape[1])
        query = self.query(candidates) * (self.dim**-0.5)
        logits = ops.matmul(query, ops.transpose(ops.cast(keys, query.dtype), (0, 2, 1)))
        weights = ops.where(ops.expand_dims(history_mask, 1), ops.relu(logits), 0.0)
        interest = ops.matmul(weights, ops.cast(values, weights.dtype))
        return (interest, weights) if return_weights else interest

    def _check_mask(self, history_mask: Tensor, length: int | None) -> None:
        check_rank("history_mask", history_mask, "batch history")
        check_kind("history_mask", history_mask, "bool")
        check_axis("history_mask", history_mask, 1, length, "the length of the history")

    def call(self, candidates: Tensor, history: Tensor, history_mask: Tensor, return_weights: bool = False) -> Any:
        """`attend` after `encode_history`: candidates [B, N, D'], history [B, L, D] to interest [B, N, D]."""
        keys, values = self.encode_history(history, history_mask)
        return self.attend(candidates, keys, values, history_mask, return_weights)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {
            **super().get_config(),
            "dim": self.dim,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
