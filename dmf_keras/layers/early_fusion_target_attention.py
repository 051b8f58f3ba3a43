"""Target attention with the similarity bucket fused before the projections: the costly form, as a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from dmf_keras.checks import check_count
from dmf_keras.layers.history_attention import HistoryAttention, check_buckets, check_modalities
from dmf_keras.ops.masked import masked_softmax
from dmf_keras.ops.rows import take_rows
from dmf_keras.ops.shapes import rows
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.layers.EarlyFusionTargetAttention")
class EarlyFusionTargetAttention(HistoryAttention):
    """Interest of a user in each candidate, with similarity fused into the history before it is projected.

        x_nj = concat(e_hj, E_S[b_nj]),  q_n = W_q e_n + b,  k_nj = W_k x_nj,  v_nj = W_v x_nj
        o_n = sum_j softmax_j(q_n . k_nj / sqrt(A)) v_nj

    with an embedding of M modalities' buckets side by side in x_nj. This is the baseline that decoupling is measured
    against, computed as it is written: two projections of a tensor [B, N, L, D + M E] for every request. It is not
    factored, though it could be: `W_k x_nj` is a sum over the rows of W_k, which is what `DecoupledTargetAttention`
    makes use of with tables of its own. There is no user part to keep between requests: every key and value depends on
    the candidate.

    Padded history may be anything and has a weight of exactly 0; an empty history gives exact zeros. Inputs of any
    float dtype are cast to the compute dtype, which the output has; the softmax is in float32 under every dtype policy.

    Args:
        dim: int, width of the output, all heads together.
        heads: int, divides `dim`.
        buckets: int, S; ids are 0 to S, where S is the missing bucket.
        modalities: names of the modalities, at least one, in the order in which bucket ids are given.
        similarity_dim: int, E, width of a bucket's embedding; as wide as `dim`, or as there are buckets, it can say
            what the tables of `DecoupledTargetAttention` can.
        dropout: share of the attention weights that is dropped in training, in [0, 1).
        kernel_initializer: of W_q, W_k, W_v; b starts normal with deviation 1.
        embeddings_initializer: of E_S.

    Examples:

    >>> from dmf_keras.layers import EarlyFusionTargetAttention
    >>> candidates, history = np.ones((2, 5, 16), "float32"), np.ones((2, 4, 16), "float32")
    >>> history_mask = np.array([[True, True, False, False], [False] * 4])
    >>> text_buckets = np.zeros((2, 5, 4), "int32")
    >>> layer = EarlyFusionTargetAttention(dim=32, heads=2, buckets=35, modalities=["text"], similarity_dim=8)
    >>> interest, weights = layer(candidates, history, [text_buckets], history_mask, return_weights=True)
    >>> tuple(interest.shape)
    (2, 5, 32)
    >>> keras.ops.convert_to_numpy(weights)[:, 0, 0].round(3).tolist()
    [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]

    References:
        The early fusion that DMF, arXiv:2510.11066, compares with.
    """

    def __init__(
        self,
        dim: int = 64,
        heads: int = 1,
        buckets: int = 35,
        modalities: Sequence[str] = ("content",),
        similarity_dim: int = 64,
        dropout: float = 0.0,
        kernel_initializer: Any = "glorot_uniform",
        embeddings_initializer: Any = "uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(dim, heads, dropout, kernel_initializer, **kwargs)
        self.buckets = check_count("buckets", buckets)
        self.modalities = check_modalities(modalities)
        self.similarity_dim = check_count("similarity_dim", similarity_dim)
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)

    def build(self, candidates_shape: Any, history_shape: Any) -> None:
        """Creates the weights."""
        self.build_projections(candidates_shape, history_shape, len(self.modalities) * self.similarity_dim)
        self.similarity_tables = [
            self.add_weight(
                name=f"{name}_similarity_table",
                shape=(self.buckets + 1, self.similarity_dim),
                initializer=self.embeddings_initializer.clone(),
            )
            for name in self.modalities
        ]

    def call(
        self,
        candidates: Tensor,
        history: Tensor,
        buckets: Sequence[Tensor],
        history_mask: Tensor,
        return_weights: bool = False,
        training: bool = False,
        pair_mask: Tensor | None = None,
    ) -> Any:
        """Interest in all candidates.

        Args:
            candidates: float [B, N, D'].
            history: float [B, L, D].
            buckets: per modality int [B, N, L], ids in [0, S].
            history_mask: bool [B, L], false for padding.
            return_weights: bool.
            training: bool, whether weights are dropped.
            pair_mask: bool [B, N, L], false for pairs that have no weight; absent: all of the history have some.

        Returns:
            Interest [B, N, dim] in the compute dtype, zeros for an empty history; with `return_weights` also the
            weights float32 [B, H, N, L], before dropout.

        Raises:
            ValueError: wrong rank, dtype, size or number of modalities.
        """
        history = self.real_history(history, history_mask)
        self.check_candidates(candidates, history_mask, history.shape[1])
        check_buckets(buckets, self.modalities, candidates, history.shape[1])
        self.check_pair_mask(pair_mask, candidates, history.shape[1])
        batch, items = ops.shape(candidates)[:2]
        length = ops.shape(history)[1]
        dtype = self.compute_dtype

        # Rows of a matrix, so that each projection is one matrix product over all pairs.
        pairs = ops.reshape(self._pairs(history, buckets), (-1, self.key.kernel.shape[0]))
        keys = ops.reshape(self.key(pairs), (rows(batch, items), length, self.dim))
        values = ops.reshape(self.value(pairs), (rows(batch, items), length, self.dim))

        # A head sees its own columns. The query is spread over [dim, H] with zeros elsewhere, and of the mixed values
        # each head keeps its columns: the large tensors, keys and values, are never transposed.
        columns = ops.convert_to_tensor(np.repeat(np.eye(self.heads), self.head_width, axis=0), dtype)
        query = ops.reshape(self.query(candidates) * (self.head_width**-0.5), (-1, self.dim, 1)) * columns
        logits = ops.reshape(ops.matmul(keys, query), (batch, items, length, self.heads))
        mask = ops.expand_dims(history_mask, (1, 2))
        if pair_mask is not None:
            mask = ops.logical_and(mask, ops.expand_dims(pair_mask, 2))
        weights = masked_softmax(ops.transpose(logits, (0, 1, 3, 2)), mask)
        drop = self.drop(training)
        kept = weights if drop is None else drop(weights)
        mixed = ops.matmul(ops.reshape(ops.cast(kept, dtype), (rows(batch, items), self.heads, length)), values)
        interest = ops.reshape(ops.sum(mixed * ops.transpose(columns), axis=1), (batch, items, self.dim))
        return (interest, ops.transpose(weights, (0, 2, 1, 3))) if return_weights else interest

    def _pairs(self, history: Tensor, buckets: Sequence[Tensor]) -> Tensor:
        """x_nj [B, N, L, D + M E] in the compute dtype."""
        batch, items, length = ops.shape(buckets[0])
        dtype = self.compute_dtype
        repeated = ops.broadcast_to(
            ops.expand_dims(ops.cast(history, dtype), 1), (batch, items, length, self.history_width)
        )
        embedded = [
            take_rows(ops.cast(table, dtype), ops.cast(ids, "int32"))
            for table, ids in zip(self.similarity_tables, buckets, strict=True)
        ]
        return ops.concatenate([repeated, *embedded], axis=-1)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {
            **super().get_config(),
            "buckets": self.buckets,
            "modalities": list(self.modalities),
            "similarity_dim": self.similarity_dim,
            "embeddings_initializer": keras.initializers.serialize(self.embeddings_initializer),
        }
