"""Target attention with the similarity bucket as side information of key and value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from dmf_keras.checks import check_count
from dmf_keras.layers.history_attention import check_buckets, check_modalities
from dmf_keras.layers.target_attention import TargetAttention
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.layers.DecoupledTargetAttention")
class DecoupledTargetAttention(TargetAttention):
    """Modality-enriched interest of a user in each candidate.

        q_n = W_q e_n + b,  k_nj = W_k e_hj + E_K[b_nj],  v_nj = W_v e_hj + E_V[b_nj]
        o_n = sum_j softmax_j(q_n . k_nj / sqrt(A)) v_nj

    `TargetAttention` with two tables per modality, E_K and E_V, that tell how similar candidate n is to history item j;
    several modalities are summed. Content enters by this relation alone, so `W_k e_hj` and `W_v e_hj` do not see the
    candidate: `encode_history` computes them once per user and `attend` uses them for every candidate.

    Padded history may be anything and has a weight of exactly 0; an empty history gives exact zeros. Inputs of any
    float dtype are cast to the compute dtype, which the output has; the softmax is in float32 under every dtype policy.

    Args:
        dim: int, width of the output, all heads together.
        heads: int, divides `dim`.
        buckets: int, S; ids are 0 to S, where S is the missing bucket.
        modalities: names of the modalities, at least one, in the order in which bucket ids are given.
        dropout: share of the attention weights that is dropped in training, in [0, 1).
        kernel_initializer: of W_q, W_k, W_v; b starts normal with deviation 1.
        embeddings_initializer: of E_K and E_V.

    Examples:

    >>> from dmf_keras.layers import DecoupledTargetAttention, SimilarityBuckets
    >>> rng = np.random.default_rng(0)
    >>> candidates = rng.normal(size=(2, 5, 16)).astype("float32")
    >>> history = rng.normal(size=(2, 4, 16)).astype("float32")
    >>> history_mask = np.array([[True, True, True, False], [False] * 4])
    >>> candidate_text = rng.normal(size=(2, 5, 8)).astype("float32")
    >>> history_text = rng.normal(size=(2, 4, 8)).astype("float32")
    >>> text_buckets = SimilarityBuckets(buckets=35)(candidate_text, history_text)
    >>> layer = DecoupledTargetAttention(dim=32, heads=2, buckets=35, modalities=["text"])
    >>> interest = layer(candidates, history, [text_buckets], history_mask)
    >>> tuple(interest.shape)
    (2, 5, 32)
    >>> bool(keras.ops.any(interest[0] != 0)), bool(keras.ops.any(interest[1] != 0))  # the second user has no history
    (True, False)

    The history once per user, then page by page of candidates:

    >>> keys, values = layer.encode_history(history)
    >>> page = layer.attend(candidates[:, :2], keys, values, [text_buckets[:, :2]], history_mask)
    >>> np.testing.assert_allclose(
    ...     keras.ops.convert_to_numpy(page), keras.ops.convert_to_numpy(interest)[:, :2], atol=1e-5
    ... )

    References:
        DMF, arXiv:2510.11066; computed in the factored form of `dmf_keras.ops.decoupled_attention`.
    """

    def __init__(
        self,
        dim: int = 64,
        heads: int = 1,
        buckets: int = 35,
        modalities: Sequence[str] = ("content",),
        dropout: float = 0.0,
        kernel_initializer: Any = "glorot_uniform",
        embeddings_initializer: Any = "uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(dim, heads, dropout, kernel_initializer, **kwargs)
        self.buckets = check_count("buckets", buckets)
        self.modalities = check_modalities(modalities)
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)

    def build(self, candidates_shape: Any, history_shape: Any) -> None:
        """Creates the weights."""
        super().build(candidates_shape, history_shape)
        self.key_tables = [self._table(f"{name}_key_table") for name in self.modalities]
        self.value_tables = [self._table(f"{name}_value_table") for name in self.modalities]

    def _table(self, name: str) -> keras.Variable:
        shape = (self.buckets + 1, self.heads, self.head_width)
        return self.add_weight(name=name, shape=shape, initializer=self.embeddings_initializer.clone())

    def attend(  # type: ignore[override]  # buckets lie between what the base takes
        self,
        candidates: Tensor,
        keys: Tensor,
        values: Tensor,
        buckets: Sequence[Tensor],
        history_mask: Tensor,
        return_weights: bool = False,
        training: bool = False,
        pair_mask: Tensor | None = None,
    ) -> Any:
        """The candidate part.

        Args:
            candidates: float [B, N, D'].
            keys, values: of `encode_history`; finite, on padding too.
            buckets: per modality int [B, N, L], ids in [0, S].
            history_mask: bool [B, L], false for padding.
            return_weights: bool.
            training: bool, whether weights are dropped.
            pair_mask: bool [B, N, L], false for pairs that have no weight; absent: all of the history have some.

        Returns:
            Interest [B, N, dim] in the compute dtype, zeros for an empty history; with `return_weights` also the
            weights float32 [B, H, N, L], before dropout.

        Raises:
            ValueError: wrong rank, dtype, size or number of modalities, or a layer that is not built.
        """
        self._check_attend(candidates, keys, values, history_mask)
        check_buckets(buckets, self.modalities, candidates, keys.shape[1])
        return self._attend(candidates, keys, values, buckets, history_mask, return_weights, training, pair_mask)

    def call(  # type: ignore[override]
        self,
        candidates: Tensor,
        history: Tensor,
        buckets: Sequence[Tensor],
        history_mask: Tensor,
        return_weights: bool = False,
        training: bool = False,
    ) -> Any:
        """`attend` after `encode_history`: candidates [B, N, D'], history [B, L, D] to interest [B, N, dim]."""
        keys, values = self.encode_history(history, history_mask)
        return self.attend(candidates, keys, values, buckets, history_mask, return_weights, training)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {
            **super().get_config(),
            "buckets": self.buckets,
            "modalities": list(self.modalities),
            "embeddings_initializer": keras.initializers.serialize(self.embeddings_initializer),
        }
