"""Target attention whose logits know how alike the content of candidate and history item is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from dmf_keras.checks import check_axis, check_kind, check_rank
from dmf_keras.layers.history_attention import check_modalities
from dmf_keras.layers.target_attention import TargetAttention
from dmf_keras.ops.masked import masked_softmax
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.layers.SemanticTargetAttention")
class SemanticTargetAttention(TargetAttention):
    """Semantic-aware target attention (SA-TA of MUSE).

        s_nj = q_n . k_j / sqrt(A),    r_nj = cosine_nj / temperature
        o_n = sum_j softmax_j(g_1 s_nj + g_2 r_nj + g_3 s_nj r_nj) v_j

    per head, with learned gains g_1, and g_2, g_3 per modality; several modalities are summed. q, k and v are those of
    `TargetAttention`. The cosine is used as it is, where `DecoupledTargetAttention` looks up its bucket. It changes
    weights alone: no vector depends on the pair, and the largest tensors are [B, H, N, L].

    Padded history may be anything, its cosines too, and has a weight of exactly 0; an empty history gives exact zeros.
    Where a side has no content the cosine is 0, and s_nj alone decides. Inputs of any float dtype are cast to the
    compute dtype, which the output has; the softmax is in float32 under every dtype policy.

    Args:
        dim: int, width of the output, all heads together.
        heads: int, divides `dim`.
        modalities: names of the modalities, at least one, in the order in which cosines are given.
        temperature: float above 0. The public code learns it, which g_2 and g_3 do as well.
        dropout: share of the attention weights that is dropped in training, in [0, 1).
        kernel_initializer: of W_q, W_k, W_v; b starts normal with deviation 1, the gains start at 1.

    Examples:

    >>> from dmf_keras.layers import SemanticTargetAttention
    >>> candidates, history = np.ones((2, 5, 16), "float32"), np.ones((2, 4, 16), "float32")
    >>> history_mask = np.array([[True, True, False, False], [False] * 4])
    >>> cosines = np.tile(np.array([0.1, 0.0, 0.9, 0.0], "float32"), (2, 5, 1))
    >>> layer = SemanticTargetAttention(dim=32, heads=2, modalities=["text"])
    >>> interest, weights = layer(candidates, history, [cosines], history_mask, return_weights=True)
    >>> tuple(interest.shape), keras.ops.convert_to_numpy(weights)[1, 0, 0].tolist()
    ((2, 5, 32), [0.0, 0.0, 0.0, 0.0])

    References:
        MUSE, arXiv:2512.07216. Its public code has swish on q, k and v and no 1 / sqrt(A).
    """

    def __init__(
        self,
        dim: int = 64,
        heads: int = 1,
        modalities: Sequence[str] = ("content",),
        temperature: float = 0.1,
        dropout: float = 0.0,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(dim, heads, dropout, kernel_initializer, **kwargs)
        self.modalities = check_modalities(modalities)
        if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not temperature > 0:
            raise ValueError(f"`temperature` must be a number above 0. Received: {temperature!r}")
        self.temperature = float(temperature)

    def build(self, candidates_shape: Any, history_shape: Any) -> None:
        """Creates the weights."""
        super().build(candidates_shape, history_shape)
        # Float32 whatever the policy, as the logits are.
        gain: dict[str, Any] = {"initializer": "ones", "dtype": "float32", "autocast": False}
        self.product_gain = self.add_weight(name="product_gain", shape=(self.heads,), **gain)
        by_modality = (len(self.modalities), self.heads)
        self.cosine_gain = self.add_weight(name="cosine_gain", shape=by_modality, **gain)
        self.joint_gain = self.add_weight(name="joint_gain", shape=by_modality, **gain)

    def attend(  # type: ignore[override]  # cosines lie between what the base takes
        self,
        candidates: Tensor,
        keys: Tensor,
        values: Tensor,
        cosines: Sequence[Tensor],
        history_mask: Tensor,
        return_weights: bool = False,
        training: bool = False,
        pair_mask: Tensor | None = None,
    ) -> Any:
        """The candidate part.

        Args:
            candidates: float [B, N, D'].
            keys, values: of `encode_history`; finite, on padding too.
            cosines: per modality float [B, N, L]; 0 where one side has no content.
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
        self._check_cosines(cosines, candidates, keys.shape[1])
        self.check_pair_mask(pair_mask, candidates, keys.shape[1])
        dtype = self.compute_dtype
        query = self.split_heads(self.query(candidates)) * (self.head_width**-0.5)
        query, values = (ops.transpose(tensor, (0, 2, 1, 3)) for tensor in (query, ops.cast(values, dtype)))
        products = ops.matmul(query, ops.transpose(ops.cast(keys, dtype), (0, 2, 3, 1)))
        products, mask = ops.cast(products, "float32"), ops.expand_dims(history_mask, (1, 2))

        def of_heads(gain: Tensor) -> Tensor:
            return ops.reshape(gain, (self.heads, 1, 1))

        logits = of_heads(self.product_gain) * products
        for place, cosine in enumerate(cosines):
            # The mask before a product: padding may be NaN.
            cosine = ops.where(mask, ops.expand_dims(ops.cast(cosine, "float32"), 1), 0.0) / self.temperature
            gain = of_heads(self.cosine_gain[place]) + of_heads(self.joint_gain[place]) * products
            logits = logits + gain * cosine
        if pair_mask is not None:
            mask = ops.logical_and(mask, ops.expand_dims(pair_mask, 1))
        weights = masked_softmax(logits, mask)
        drop = self.drop(training)
        kept = weights if drop is None else drop(weights)
        interest = ops.transpose(ops.matmul(ops.cast(kept, dtype), values), (0, 2, 1, 3))
        batch, items = ops.shape(candidates)[:2]
        interest = ops.reshape(interest, (batch, items, self.dim))
        return (interest, weights) if return_weights else interest

    def _check_cosines(self, cosines: Sequence[Tensor], candidates: Tensor, length: int | None) -> None:
        if not isinstance(cosines, list | tuple) or len(cosines) != len(self.modalities):
            given = len(cosines) if isinstance(cosines, list | tuple) else type(cosines).__name__
            raise ValueError(
                f"`cosines` must be a list of one tensor per modality ({', '.join(self.modalities)}). Received: {given}"
            )
        for modality, cosine in zip(self.modalities, cosines, strict=True):
            name = f"cosines of {modality}"
            check_rank(name, cosine, "batch candidates history")
            check_kind(name, cosine, "float")
            check_axis(name, cosine, 1, candidates.shape[1], "the candidates")
            check_axis(name, cosine, 2, length, "the length of the history")

    def call(  # type: ignore[override]
        self,
        candidates: Tensor,
        history: Tensor,
        cosines: Sequence[Tensor],
        history_mask: Tensor,
        return_weights: bool = False,
        training: bool = False,
    ) -> Any:
        """`attend` after `encode_history`: candidates [B, N, D'], history [B, L, D] to interest [B, N, dim]."""
        keys, values = self.encode_history(history, history_mask)
        return self.attend(candidates, keys, values, cosines, history_mask, return_weights, training)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {**super().get_config(), "modalities": list(self.modalities), "temperature": self.temperature}
