"""DIN's interest: a small network weighs each history item for each candidate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from dmf_keras.checks import check_axis, check_counts, check_kind, check_rank
from dmf_keras.layers.dice import Dice
from dmf_keras.ops.masked import masked_softmax, without_padding
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.layers.LocalActivationUnit")
class LocalActivationUnit(keras.layers.Layer):
    """Interest of a user in each candidate, by DIN's activation unit.

        w_nj = MLP([q_n, k_j, q_n - k_j, q_n * k_j]),    o_n = sum_j w_nj k_j

    The weights are not normalised: no softmax, so that their sum says how strong the interest is. Padded history may be
    anything and has a weight of exactly 0; an empty history gives zeros. The first layer is linear in the concatenation
    and is computed in parts, exactly:

        W [q, k, q - k, q * k] + b = (W_q + W_d) q_n + ((W_k - W_d) k_j + b) + W_p (q_n * k_j)

    the first once per candidate, the second once per user (`encode_history`), only the last once per pair. What follows
    is a tensor [B, N, L, H] per hidden layer in any case: this is the costly baseline.

    With `normalize` the weights are softmax_j(w_nj), over real history: how strong the interest is, is lost, and the
    last layer needs no bias.

    Args:
        hidden_units: widths of the MLP's hidden layers, at least one. (80, 40) are those of the authors' public code,
            which has sigmoids (`activation="sigmoid"`); the paper has PReLU or Dice.
        activation: of the hidden layers: "dice", or what `keras.activations.get` takes.
        kernel_initializer: of all layers.
        normalize: bool, whether a softmax makes the weights sum to 1.

    Examples:

    >>> from dmf_keras.layers import LocalActivationUnit
    >>> layer = LocalActivationUnit(hidden_units=(8, 4))
    >>> candidates, history = np.ones((2, 5, 3), "float32"), np.ones((2, 7, 3), "float32")
    >>> mask = np.array([[True] * 7, [False] * 7])
    >>> interest = layer(candidates, history, mask)
    >>> tuple(interest.shape)
    (2, 5, 3)
    >>> keras.ops.convert_to_numpy(interest)[1, 0].tolist()  # an empty history
    [0.0, 0.0, 0.0]

    The same with the user part kept, for a page of candidates:

    >>> part = layer.encode_history(history)
    >>> tuple(layer.attend(candidates[:, :2], history, part, mask).shape)
    (2, 2, 3)

    References:
        DIN, arXiv:1706.06978.
    """

    def __init__(
        self,
        hidden_units: Sequence[int] = (80, 40),
        activation: Any = "dice",
        kernel_initializer: Any = "glorot_uniform",
        normalize: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.hidden_units = check_counts("hidden_units", hidden_units)
        self.activation: Any = "dice" if activation == "dice" else keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.normalize = normalize

    def build(self, candidates_shape: Any, history_shape: Any) -> None:
        """Creates the weights."""
        self.width = history_shape[-1]
        if candidates_shape[-1] != self.width:
            raise ValueError(
                "`candidates` and `history` must be of one width. Received: shapes "
                f"{tuple(candidates_shape)} and {tuple(history_shape)}"
            )
        first, *rest = self.hidden_units
        # One kernel, so that it is initialised as the layer on the concatenation that it stands for.
        self.kernel = self.add_weight(
            name="kernel", shape=(4 * self.width, first), initializer=self.kernel_initializer.clone()
        )
        self.bias = self.add_weight(name="bias", shape=(first,), initializer="zeros")
        self.dense = [self._dense(units, below) for units, below in zip(rest, self.hidden_units[:-1], strict=True)]
        self.dense.append(self._dense(1, self.hidden_units[-1], use_bias=not self.normalize))
        self.dice: list[Dice] = []
        if self.activation == "dice":
            self.dice = [Dice(dtype=self.dtype_policy) for _ in self.hidden_units]
            for layer, units in zip(self.dice, self.hidden_units, strict=True):
                layer.build((None, None, None, units))

    def _dense(self, units: int, below: int, use_bias: bool = True) -> keras.layers.Dense:
        layer = keras.layers.Dense(
            units,
            use_bias=use_bias,
            kernel_initializer=self.kernel_initializer.clone(),
            dtype=self.dtype_policy,
        )
        layer.build((None, None, None, below))
        return layer

    def _kernels(self) -> list[Tensor]:
        """W_q, W_k, W_d and W_p, each [D, H1]."""
        kernel = ops.cast(self.kernel, self.compute_dtype)
        return [kernel[part * self.width : (part + 1) * self.width] for part in range(4)]

    def encode_history(self, history: Tensor, history_mask: Tensor | None = None) -> Tensor:
        """The user part.

        Args:
            history: float [B, L, D].
            history_mask: bool [B, L], false for padding, which may then be anything; absent: padding is finite.

        Returns:
            Its part of the first layer [B, L, H1], bias included.

        Raises:
            ValueError: wrong rank, width or dtype, or a mask of another shape.
        """
        history = self._real_history(history, history_mask)
        _, key, difference, _ = self._kernels()
        projected = ops.matmul(ops.cast(history, self.compute_dtype), key - difference)
        return projected + ops.cast(self.bias, self.compute_dtype)

    def _real_history(self, history: Tensor, history_mask: Tensor | None) -> Tensor:
        """`history` with zeros for the padding of a mask."""
        check_rank("history", history, "batch history width")
        check_axis("history", history, 2, self.width, "the layer was built")
        if history_mask is None:
            return history
        check_rank("history_mask", history_mask, "batch history")
        check_kind("history_mask", history_mask, "bool")
        check_axis("history_mask", history_mask, 1, history.shape[1], "the length of the history")
        return without_padding(history, history_mask)

    def attend(
        self,
        candidates: Tensor,
        history: Tensor,
        history_part: Tensor,
        history_mask: Tensor,
        candidates_mask: Tensor | None = None,
        return_weights: bool = False,
        training: bool = False,
    ) -> Any:
        """The candidate part.

        Args:
            candidates: float [B, N, D].
            history: float [B, L, D]; finite, on padding too.
            history_part: of `encode_history`.
            history_mask: bool [B, L], false for padding.
            candidates_mask: bool [B, N], false for padding, which must not move the statistics of Dice in training;
                nothing else depends on it. Absent: all candidates are real.
            return_weights: bool.
            training: whether Dice takes its statistics from this batch.

        Returns:
            Interest [B, N, D] in the compute dtype, zeros for an empty history; with `return_weights` also the weights
            [B, N, L] in the compute dtype, exactly 0 on padding.

        Raises:
            ValueError: wrong rank, width or dtype, or masks of another shape.
        """
        self._check(candidates, history, history_part, history_mask, candidates_mask)
        query, _, difference, product = self._kernels()
        dtype = self.compute_dtype
        history, candidates = ops.cast(history, dtype), ops.cast(candidates, dtype)
        if candidates_mask is not None:
            candidates = without_padding(candidates, candidates_mask)
        per_candidate = ops.expand_dims(ops.matmul(candidates, query + difference), 2)
        per_user = ops.expand_dims(ops.cast(history_part, dtype), 1)
        pairs = ops.expand_dims(candidates, 2) * ops.expand_dims(history, 1)
        hidden = per_candidate + per_user + ops.matmul(pairs, product)

        kept = ops.broadcast_to(ops.expand_dims(history_mask, 1), ops.shape(hidden)[:3])
        real = kept
        if candidates_mask is not None:
            real = ops.logical_and(kept, ops.expand_dims(candidates_mask, 2))
        for depth, dense in enumerate(self.dense):
            hidden = self.dice[depth](hidden, mask=real, training=training) if self.dice else self.activation(hidden)
            hidden = dense(hidden)
        logits = ops.squeeze(hidden, -1)
        weights = ops.cast(masked_softmax(logits, kept), dtype) if self.normalize else ops.where(kept, logits, 0.0)
        interest = ops.matmul(weights, history)
        return (interest, weights) if return_weights else interest

    def _check(
        self,
        candidates: Tensor,
        history: Tensor,
        history_part: Tensor,
        history_mask: Tensor,
        candidates_mask: Tensor | None,
    ) -> None:
        check_rank("candidates", candidates, "batch candidates width")
        check_axis("candidates", candidates, 2, self.width, "the layer was built")
        check_rank("history", history, "batch history width")
        check_axis("history", history, 2, self.width, "the layer was built")
        check_rank("history_part", history_part, "batch history width")
        check_axis("history_part", history_part, 1, history.shape[1], "the length of the history")
        check_rank("history_mask", history_mask, "batch history")
        check_kind("history_mask", history_mask, "bool")
        check_axis("history_mask", history_mask, 1, history.shape[1], "the length of the history")
        if candidates_mask is not None:
            check_rank("candidates_mask", candidates_mask, "batch candidates")
            check_kind("candidates_mask", candidates_mask, "bool")
            check_axis("candidates_mask", candidates_mask, 1, candidates.shape[1], "the candidates")

    def call(
        self,
        candidates: Tensor,
        history: Tensor,
        history_mask: Tensor,
        candidates_mask: Tensor | None = None,
        return_weights: bool = False,
        training: bool = False,
    ) -> Any:
        """`attend` after `encode_history`; `candidates` float [B, N, D], `history` float [B, L, D]."""
        history = self._real_history(history, history_mask)
        part = self.encode_history(history)
        return self.attend(candidates, history, part, history_mask, candidates_mask, return_weights, training)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        dice = self.activation == "dice"
        return {
            **super().get_config(),
            "hidden_units": self.hidden_units,
            "activation": "dice" if dice else keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "normalize": self.normalize,
        }
