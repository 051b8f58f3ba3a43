"""What the layers that attend from candidates to a history have in common."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras import ops

from dmf_keras.checks import check_axis, check_count, check_fraction, check_kind, check_rank
from dmf_keras.ops.masked import without_padding
from dmf_keras.types import Tensor


class HistoryAttention(keras.layers.Layer):
    """Base of the attention layers: the projections W_q, W_k, W_v, the heads, dropout of weights, checks of inputs.

    The query has a bias, which the papers leave out: q_n = W_q e_n + b. Without it a candidate whose embedding is near
    zero (each of them at the start of training, a cold one for good) attends to the whole history alike, and the keys
    of similarity, E_K, have no gradient: they are learned late or not at all, and never serve cold items. For the same
    reason b does not start at zero, which is a saddle of b and E_K.

    A subclass says what is projected to keys and values, and computes. It calls `build_projections` in its `build`.

    Args:
        dim: int, width of the output, all heads together.
        heads: int, divides `dim`.
        dropout: share of the attention weights that is dropped in training, in [0, 1).
        kernel_initializer: of W_q, W_k, W_v.
    """

    def __init__(self, dim: int, heads: int, dropout: float, kernel_initializer: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dim = check_count("dim", dim)
        self.heads = check_count("heads", heads)
        if dim % heads:
            raise ValueError(f"`dim` must be a multiple of `heads`. Received: dim={dim}, heads={heads}")
        self.dropout = check_fraction("dropout", dropout)
        if dropout == 1:
            raise ValueError(f"`dropout` must be below 1, which would drop every weight. Received: {dropout!r}")
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        # The weights are float32 under every policy, and so is what is kept of them.
        self.weight_dropout = keras.layers.Dropout(self.dropout, dtype="float32", name="weight_dropout")

    @property
    def head_width(self) -> int:
        """A, the width of a head."""
        return self.dim // self.heads

    def build_projections(self, candidates_shape: Any, history_shape: Any, side_width: int = 0) -> None:
        """Creates W_q for the width of the candidates, W_k and W_v for that of the history plus `side_width`."""
        self.candidates_width, self.history_width = candidates_shape[-1], history_shape[-1]
        self.query = self._projection("query", self.candidates_width, keras.initializers.RandomNormal(stddev=1.0))
        self.key = self._projection("key", self.history_width + side_width)
        self.value = self._projection("value", self.history_width + side_width)

    def _projection(self, name: str, width: int, bias: keras.Initializer | None = None) -> keras.layers.Dense:
        layer = keras.layers.Dense(
            self.dim,
            use_bias=bias is not None,
            bias_initializer=bias,
            # A clone per projection: one stateless initialiser would give all three the same values.
            kernel_initializer=self.kernel_initializer.clone(),
            dtype=self.dtype_policy,
            name=name,
        )
        layer.build((None, width))
        return layer

    def split_heads(self, projected: Tensor) -> Tensor:
        """[B, I, dim] to [B, I, H, A]."""
        batch, items = ops.shape(projected)[:2]
        return ops.reshape(projected, (batch, items, self.heads, self.head_width))

    def drop(self, training: bool) -> Callable[[Tensor], Tensor] | None:
        """What drops attention weights; None where nothing is to be dropped."""
        return partial(self.weight_dropout, training=True) if training and self.dropout else None

    def real_history(self, history: Tensor, history_mask: Tensor | None) -> Tensor:
        """`history` with zeros for the padding of a mask.

        Raises:
            ValueError: `history` is not float [B, L, D] with the D of `build`, or the mask not bool [B, L].
        """
        self._check_built()
        check_rank("history", history, "batch history width")
        check_kind("history", history, "float")
        check_axis("history", history, 2, self.history_width, "the layer was built for")
        if history_mask is None:
            return history
        self._check_mask(history_mask, history.shape[0], "the batch of `history`", history.shape[1])
        return without_padding(history, history_mask)

    def check_candidates(self, candidates: Tensor, history_mask: Tensor, length: int | None) -> None:
        """Raises ValueError unless `candidates` is float [B, N, D'] and `history_mask` bool [B, L]; L is `length`."""
        self._check_built()
        check_rank("candidates", candidates, "batch candidates width")
        check_kind("candidates", candidates, "float")
        check_axis("candidates", candidates, 2, self.candidates_width, "the layer was built for")
        self._check_mask(history_mask, candidates.shape[0], "the batch of `candidates`", length)

    def check_pair_mask(self, pair_mask: Tensor | None, candidates: Tensor, length: int | None) -> None:
        """Raises ValueError unless `pair_mask` is None or bool [B, N, L] for `candidates` [B, N, D']; L is `length`."""
        if pair_mask is None:
            return
        check_rank("pair_mask", pair_mask, "batch candidates history")
        check_kind("pair_mask", pair_mask, "bool")
        check_axis("pair_mask", pair_mask, 0, candidates.shape[0], "the batch of `candidates`")
        check_axis("pair_mask", pair_mask, 1, candidates.shape[1], "the candidates")
        check_axis("pair_mask", pair_mask, 2, length, "the length of the history")

    def _check_mask(self, history_mask: Tensor, batch: int | None, of: str, length: int | None) -> None:
        check_rank("history_mask", history_mask, "batch history")
        check_kind("history_mask", history_mask, "bool")
        check_axis("history_mask", history_mask, 0, batch, of)
        check_axis("history_mask", history_mask, 1, length, "the length of the history")

    def _check_built(self) -> None:
        if not self.built:
            raise ValueError(
                f"`{self.name}` has no weights yet: call it once, or `build(candidates_shape, history_shape)`, "
                "before its parts are used. Received: a layer that is not built"
            )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {
            **super().get_config(),
            "dim": self.dim,
            "heads": self.heads,
            "dropout": self.dropout,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


def check_modalities(modalities: Any) -> list[str]:
    """Returns `modalities` as a list when it is one or more different names; raises ValueError otherwise."""
    if isinstance(modalities, str) or len(set(modalities)) != len(modalities):
        raise ValueError(f"`modalities` must be a list of different names. Received: {modalities!r}")
    if not modalities:
        raise ValueError(
            "`modalities` must name at least one; without content use TargetAttention, which takes no buckets. "
            f"Received: {modalities!r}"
        )
    return list(modalities)


def check_buckets(buckets: Any, modalities: list[str], candidates: Tensor, length: int | None) -> None:
    """Raises ValueError unless `buckets` has an int tensor [B, N, L] per modality; L is `length`."""
    if not isinstance(buckets, list | tuple):
        raise ValueError(
            f"`buckets` must be a list of one tensor per modality ({', '.join(modalities)}). "
            f"Received: {type(buckets).__name__} of shape {tuple(getattr(buckets, 'shape', ()))}"
        )
    if len(buckets) != len(modalities):
        raise ValueError(
            f"`buckets` must be one tensor per modality ({', '.join(modalities)}). Received: {len(buckets)}"
        )
    for modality, ids in zip(modalities, buckets, strict=True):
        name = f"buckets of {modality}"
        check_rank(name, ids, "batch candidates history")
        check_kind(name, ids, "int")
        check_axis(name, ids, 0, candidates.shape[0], "the batch of `candidates`")
        check_axis(name, ids, 1, candidates.shape[1], "the candidates")
        check_axis(name, ids, 2, length, "the length of the history")
