"""A ranking network of quadratic layers, in place of an MLP."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from dmf_keras.checks import check_axis, check_count, check_fraction, check_kind, check_rank
from dmf_keras.ops.masked import without_padding
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.layers.QuadraticHead")
class QuadraticHead(keras.layers.Layer):
    """Quadratic layers (QNN of QIN) on `concat(user, item, pair)` to one logit per candidate.

        x_0 = [user, item, pair],    x_k+1 = PReLU(BN(x_k * (A_k x_k + c_k))) + x_k,    logit = w . x_K + b

    Each layer doubles the degree of the polynomial in the input, and keeps its width D. The public code has R matrices
    per layer and sums R products, which is one product with the sum of the matrices: one matrix is what this layer has.

    Of the first layer the user's part `A_0 user + c_0` is computed once per request, as `InterestHead` does. Nothing
    else can be: x itself is multiplied, so all D columns go on per candidate. A layer costs D^2 multiplications per
    candidate, also for wide users, where an MLP's cost depends on its hidden widths.

    The statistics of the batch normalisation are those of real candidates alone; in inference they are moving averages,
    so that no candidate sees another.

    Args:
        layers: int, K, quadratic layers.
        dropout: share of A x + c, and of what comes out of PReLU, that is dropped in training.
        outputs: logits per candidate; the layers are shared.
        kernel_initializer: of all matrices; PReLU starts with one slope of 0.25 per layer.

    Examples:

    >>> from dmf_keras.layers import QuadraticHead
    >>> head = QuadraticHead(layers=2)
    >>> user, item, pair = np.ones((2, 4)), np.ones((2, 5, 3)), np.ones((2, 5, 6))
    >>> logits = head(user, item, pair)
    >>> tuple(logits.shape)
    (2, 5)

    The same with the user part kept:

    >>> parts = head.score_items(head.encode_user(user), item, pair)
    >>> bool(np.allclose(keras.ops.convert_to_numpy(parts), keras.ops.convert_to_numpy(logits)))
    True

    References:
        QIN, arXiv:2504.17699.
    """

    def __init__(
        self,
        layers: int = 4,
        dropout: float = 0.0,
        outputs: int = 1,
        kernel_initializer: Any = "glorot_normal",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.layers = check_count("layers", layers)
        self.dropout = check_fraction("dropout", dropout)
        self.outputs = check_count("outputs", outputs)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, user_shape: Any, item_shape: Any, pair_shape: Any = None) -> None:
        """Creates the weights; without `pair_shape` a head without a pair part."""
        self.widths = [user_shape[-1], item_shape[-1], 0 if pair_shape is None else pair_shape[-1]]
        width, common = sum(self.widths), {"dtype": self.dtype_policy}
        self.dense = [keras.layers.Dense(width, **self._drawn(), **common) for _ in range(self.layers)]
        # Moments as the public code has them, of PyTorch's defaults.
        self.norms = [keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, **common) for _ in self.dense]
        slope = keras.initializers.Constant(0.25)
        self.activations = [keras.layers.PReLU(slope, shared_axes=[1], **common) for _ in self.dense]
        # Logits in float32 whatever the policy: bfloat16 has 8 bits, too few to rank by.
        self.logit = keras.layers.Dense(self.outputs, **self._drawn(), dtype="float32")
        for layer in (*self.dense, *self.norms, *self.activations, self.logit):
            layer.build((None, width))
        self.dropouts = [keras.layers.Dropout(self.dropout, **common) for _ in range(2 * self.layers)]

    def _drawn(self) -> dict[str, Any]:
        return {"kernel_initializer": self.kernel_initializer.clone()}

    def encode_user(self, user: Tensor) -> Tensor:
        """`user` [B, U] and its part of the first layer, bias included, side by side: [B, U + D]; U may be 0."""
        check_rank("user", user, "batch width")
        check_axis("user", user, 1, self.widths[0], "the head was built")
        user = ops.cast(user, self.compute_dtype)
        bias = ops.cast(self.dense[0].bias, self.compute_dtype)
        if self.widths[0] == 0:  # a product over nothing aborts the process inside oneDNN
            return ops.broadcast_to(bias, (ops.shape(user)[0], sum(self.widths)))
        return ops.concatenate([user, ops.matmul(user, self._first_kernel()[: self.widths[0]]) + bias], axis=-1)

    def _first_kernel(self) -> Tensor:
        return ops.cast(self.dense[0].kernel, self.compute_dtype)

    def score_items(
        self,
        user_part: Tensor,
        item: Tensor,
        pair: Tensor | None = None,
        training: bool = False,
        candidates_mask: Tensor | None = None,
    ) -> Tensor:
        """Logits.

        Args:
            user_part: of `encode_user`.
            item: float [B, N, I].
            pair: float [B, N, P], what holds for user and item together; None for a head that was built without.
            training: whether units are dropped and statistics are those of this batch.
            candidates_mask: bool [B, N], false for padding, which must not move the statistics in training; nothing
                else depends on it. Absent: all candidates are real.

        Returns:
            float32 [B, N], of several outputs [B, N, T], under every dtype policy; at padding meaningless.

        Raises:
            ValueError: `pair` is missing or unexpected, a wrong rank or width, or a mask of another shape or dtype.
        """
        rest = self._items(item, pair)
        batch, candidates = ops.shape(rest)[:2]
        mask = None
        if candidates_mask is not None:
            check_rank("candidates_mask", candidates_mask, "batch candidates")
            check_kind("candidates_mask", candidates_mask, "bool")
            check_axis("candidates_mask", candidates_mask, 1, rest.shape[1], "the candidates")
            rest, mask = without_padding(rest, candidates_mask), ops.reshape(candidates_mask, (-1,))
        users = self.widths[0]
        user_part = ops.expand_dims(ops.cast(user_part, self.compute_dtype), 1)
        projected = ops.matmul(rest, self._first_kernel()[users:]) + user_part[..., users:]
        spread = ops.broadcast_to(user_part[..., :users], (batch, candidates, users))
        width = sum(self.widths)
        # Two dimensions are what dense layers are fast in.
        x = ops.reshape(ops.concatenate([spread, rest], axis=-1), (-1, width))
        projected = ops.reshape(projected, (-1, width))
        for k, (dense, norm, activation) in enumerate(zip(self.dense, self.norms, self.activations, strict=True)):
            projected = self.dropouts[2 * k](dense(x) if k else projected, training=training)
            kept = activation(norm(x * projected, training=training, mask=mask))
            x = self.dropouts[2 * k + 1](kept, training=training) + x
        several = () if self.outputs == 1 else (self.outputs,)
        return ops.reshape(self.logit(x), (batch, candidates, *several))

    def _items(self, item: Tensor, pair: Tensor | None) -> Tensor:
        """Item and pair side by side, checked."""
        if (pair is None) != (self.widths[2] == 0):
            expected = "be None, as the head was built without" if self.widths[2] == 0 else "be given"
            raise ValueError(f"`pair` must {expected}. Received: {None if pair is None else tuple(pair.shape)}")
        given = {"item": item} | ({} if pair is None else {"pair": pair})
        for place, (name, tensor) in enumerate(given.items(), start=1):
            check_rank(name, tensor, "batch candidates width")
            check_axis(name, tensor, 2, self.widths[place], "the head was built")
        return ops.concatenate([ops.cast(tensor, self.compute_dtype) for tensor in given.values()], axis=-1)

    def call(
        self,
        user: Tensor,
        item: Tensor,
        pair: Tensor | None = None,
        training: bool = False,
        candidates_mask: Tensor | None = None,
    ) -> Tensor:
        """Logits float32 [B, N] or [B, N, T] of `user` [B, U], `item` [B, N, I] and `pair` [B, N, P] or None."""
        return self.score_items(self.encode_user(user), item, pair, training, candidates_mask)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {
            **super().get_config(),
            "layers": self.layers,
            "dropout": self.dropout,
            "outputs": self.outputs,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
