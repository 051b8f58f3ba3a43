"""Target attention over embeddings of IDs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from dmf_keras.checks import check_axis, check_kind, check_rank
from dmf_keras.layers.history_attention import HistoryAttention
from dmf_keras.ops.decoupled_attention import decoupled_attention
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.layers.TargetAttention")
class TargetAttention(HistoryAttention):
    """Interest of a user in each candidate, from embeddings alone.

        q_n = W_q e_n + b,  k_j = W_k e_hj,  v_j = W_v e_hj
        o_n = sum_j softmax_j(q_n . k_j / sqrt(A)) v_j

    per head, A = dim / heads wide; heads are side by side in the output. Keys and values do not see the candidate:
    `encode_history` computes them once per user and `attend` uses them for every candidate.

    Padded history may be anything and has a weight of exactly 0; an empty history gives exact zeros. Inputs of any
    float dtype are cast to the compute dtype, which the output has; the softmax is in float32 under every dtype policy.

    Args:
        dim: int, width of the output, all heads together.
        heads: int, divides `dim`.
        dropout: share of the attention weights that is dropped in training, in [0, 1).
        kernel_initializer: of W_q, W_k, W_v; b starts normal with deviation 1.

    Examples:

    Two users, five candidates each, a history of four of which the second user has none:

    >>> from dmf_keras.layers import TargetAttention
    >>> rng = np.random.default_rng(0)
    >>> candidates = rng.normal(size=(2, 5, 16)).astype("float32")
    >>> history = rng.normal(size=(2, 4, 16)).astype("float32")
    >>> history_mask = np.array([[True, True, True, False], [False] * 4])
    >>> layer = TargetAttention(dim=32, heads=2)
    >>> interest, weights = layer(candidates, history, history_mask, return_weights=True)
    >>> tuple(interest.shape), tuple(weights.shape)
    ((2, 5, 32), (2, 2, 5, 4))
    >>> keras.ops.convert_to_numpy(weights).sum(axis=-1)[:, 0, 0].round(5).tolist()
    [1.0, 0.0]

    The history once per user, then page by page of candidates:

    >>> keys, values = layer.encode_history(history)
    >>> page = layer.attend(candidates[:, :2], keys, values, history_mask)
    >>> np.testing.assert_allclose(
    ...     keras.ops.convert_to_numpy(page), keras.ops.convert_to_numpy(interest)[:, :2], atol=1e-5
    ... )

    References:
        Attention, arXiv:1706.03762; the candidate as its query, DIN, arXiv:1706.06978. The ID-only baseline of DMF,
        arXiv:2510.11066.
    """

    # E_K and E_V per modality, [S + 1, H, A], of a subclass with side information about pairs.
    key_tables: Sequence[keras.Variable] = ()
    value_tables: Sequence[keras.Variable] = ()

    def __init__(
        self,
        dim: int = 64,
        heads: int = 1,
        dropout: float = 0.0,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(dim, heads, dropout, kernel_initializer, **kwargs)

    def build(self, candidates_shape: Any, history_shape: Any) -> None:
        """Creates the weights."""
        self.build_projections(candidates_shape, history_shape)

    def encode_history(self, history: Tensor, history_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The user part.

        Args:
            history: float [B, L, D].
            history_mask: bool [B, L], false for padding, which may then be anything; absent: padding is finite.

        Returns:
            Keys and values, both [B, L, H, A] in the compute dtype.

        Raises:
            ValueError: wrong rank, dtype or size, or a layer that is not built.
        """
        history = self.real_history(history, history_mask)
        return self.split_heads(self.key(history)), self.split_heads(self.value(history))

    def attend(
        self,
        candidates: Tensor,
        keys: Tensor,
        values: Tensor,
        history_mask: Tensor,
        return_weights: bool = False,
        training: bool = False,
        pair_mask: Tensor | None = None,
    ) -> Any:
        """The candidate part.

        Args:
            candidates: float [B, N, D'].
            keys, values: of `encode_history`; finite, on padding too.
            history_mask: bool [B, L], false for padding.
            return_weights: bool.
            training: bool, whether weights are dropped.
            pair_mask: bool [B, N, L], false for pairs that have no weight; absent: all of the history have some.

        Returns:
            Interest [B, N, dim] in the compute dtype, zeros for an empty history; with `return_weights` also the
            weights float32 [B, H, N, L], before dropout.

        Raises:
            ValueError: wrong rank, dtype or size, or a layer that is not built.
        """
        self._check_attend(candidates, keys, values, history_mask)
        return self._attend(candidates, keys, values, (), history_mask, return_weights, training, pair_mask)

    def _check_attend(self, candidates: Tensor, keys: Tensor, values: Tensor, history_mask: Tensor) -> None:
        for name, tensor in (("keys", keys), ("values", values)):
            check_rank(name, tensor, "batch history heads width")
            check_kind(name, tensor, "float")
            check_axis(name, tensor, 1, keys.shape[1], "the length of the history")
            check_axis(name, tensor, 2, self.heads, "the layer has heads")
            check_axis(name, tensor, 3, self.head_width, "the width of a head")
        self.check_candidates(candidates, history_mask, keys.shape[1])
        for name, tensor in (("keys", keys), ("values", values)):
            check_axis(name, tensor, 0, candidates.shape[0], "the batch of `candidates`")

    def _attend(
        self,
        candidates: Tensor,
        keys: Tensor,
        values: Tensor,
        buckets: Sequence[Tensor],
        history_mask: Tensor,
        return_weights: bool,
        training: bool,
        pair_mask: Tensor | None,
    ) -> Any:
        """`attend` with a tensor of buckets for each of the layer's tables."""
        self.check_pair_mask(pair_mask, candidates, keys.shape[1])
        dtype = self.compute_dtype
        interest, weights = decoupled_attention(
            self.split_heads(self.query(candidates)),
            ops.cast(keys, dtype),
            ops.cast(values, dtype),
            [ops.cast(ids, "int32") for ids in buckets],
            [ops.cast(table, dtype) for table in self.key_tables],
            [ops.cast(table, dtype) for table in self.value_tables],
            history_mask,
            self.drop(training),
            pair_mask,
        )
        batch, items = ops.shape(interest)[:2]
        interest = ops.reshape(interest, (batch, items, self.dim))
        return (interest, weights) if return_weights else interest

    def call(
        self,
        candidates: Tensor,
        history: Tensor,
        history_mask: Tensor,
        return_weights: bool = False,
        training: bool = False,
    ) -> Any:
        """`attend` after `encode_history`: candidates [B, N, D'], history [B, L, D] to interest [B, N, dim]."""
        keys, values = self.encode_history(history, history_mask)
        return self.attend(candidates, keys, values, history_mask, return_weights, training)
