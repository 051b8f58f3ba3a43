"""The ranking network, whose user part is computed once per request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from dmf_keras.checks import check_axis, check_count, check_counts, check_fraction, check_rank
from dmf_keras.layers.multi_gate_mixture_of_experts import MultiGateMixtureOfExperts
from dmf_keras.ops.rows import dense_by_request
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.layers.InterestHead")
class InterestHead(keras.layers.Layer):
    """An MLP on `concat(user, item, pair)` to one logit per candidate, with its first layer split in three.

        W [user, item, pair] + b = (W_u user + b) + W_i item + W_p pair

    The first layer is linear in the concatenation. The user part is computed once per request and not once per
    candidate, and an item part can be kept as long as the item's embedding. A model without anything that holds for
    user and item together, such as mean pooling, has no pair part. Candidates do not see each other, so none needs a
    mask; what comes out at padding is meaningless.

    With several `outputs` the network is shared and each output has a last linear unit of its own; with `experts` the
    last hidden layer is a `MultiGateMixtureOfExperts`, of which each output has its own mixture.

    Args:
        hidden_units: widths of the hidden layers, at least one.
        activation: of the hidden layers.
        dropout: share of each hidden layer that is dropped in training.
        kernel_initializer: of all layers.
        outputs: logits per candidate.
        experts: of the last hidden layer; 0: it is a dense layer. Experts need a hidden layer before them.

    Examples:

    >>> from dmf_keras.layers import InterestHead
    >>> head = InterestHead((256, 128))
    >>> user, item, pair = np.ones((2, 4)), np.ones((2, 5, 3)), np.ones((2, 5, 6))
    >>> logits = head(user, item, pair)
    >>> tuple(logits.shape)
    (2, 5)

    The same with the user part kept:

    >>> parts = head.score(head.encode_user(user), head.encode_item(item), pair)
    >>> bool(np.allclose(keras.ops.convert_to_numpy(parts), keras.ops.convert_to_numpy(logits)))
    True

    References:
        DMF, arXiv:2510.11066, for the network; the split is this library's.
    """

    def __init__(
        self,
        hidden_units: Sequence[int] = (256, 128),
        activation: Any = "relu",
        dropout: float = 0.0,
        kernel_initializer: Any = "glorot_uniform",
        outputs: int = 1,
        experts: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.hidden_units = check_counts("hidden_units", hidden_units)
        self.activation = keras.activations.get(activation)
        self.dropout = check_fraction("dropout", dropout)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.outputs = check_count("outputs", outputs)
        self.experts = check_count("experts", experts, least=0)
        if self.experts and len(self.hidden_units) < 2:
            raise ValueError(f"`experts` need two `hidden_units` at least. Received: {self.hidden_units}")

    def build(self, user_shape: Any, item_shape: Any, pair_shape: Any = None) -> None:
        """Creates the weights; without `pair_shape` a head without a pair part."""
        self.widths = [user_shape[-1], item_shape[-1], 0 if pair_shape is None else pair_shape[-1]]
        first, *rest = self.hidden_units
        # One kernel, so that it is initialised as the layer on the concatenation that it stands for.
        self.kernel = self.add_weight(
            name="kernel", shape=(sum(self.widths), first), initializer=self.kernel_initializer.clone()
        )
        self.bias = self.add_weight(name="bias", shape=(first,), initializer="zeros")
        common: dict[str, Any] = {"dtype": self.dtype_policy}
        tail: list[keras.layers.Layer] = [keras.layers.Dropout(self.dropout, **common)]
        for place, units in enumerate(rest):
            hidden: dict[str, Any] = {
                "activation": self.activation,
                "kernel_initializer": self.kernel_initializer.clone(),
                **common,
            }
            if self.experts and place == len(rest) - 1:
                tail.append(MultiGateMixtureOfExperts(self.experts, units, self.outputs, **hidden))
            else:
                tail.append(keras.layers.Dense(units, **hidden))
            tail.append(keras.layers.Dropout(self.dropout, **common))
        # Logits in float32 whatever the policy: bfloat16 has 8 bits, too few to rank by.
        logits: dict[str, Any] = {"kernel_initializer": self.kernel_initializer.clone(), "dtype": "float32"}
        if self.experts:
            last = keras.layers.EinsumDense("bth,ht->bt", (self.outputs,), bias_axes="t", **logits)
        else:
            last = keras.layers.Dense(self.outputs, **logits)
        self.tail = [*tail, last]
        for layer, width in zip(self.tail, self._tail_widths(), strict=True):
            mixtures = (self.outputs,) if layer is last and self.experts else ()
            layer.build((None, *mixtures, width))

    def _tail_widths(self) -> list[int]:
        return [units for units in self.hidden_units for _ in range(2)]

    def _part(self, name: str, tensor: Tensor, index: int) -> Tensor:
        check_axis(name, tensor, len(tensor.shape) - 1, self.widths[index], "the head was built")
        start = sum(self.widths[:index])
        return self._product(tensor, start, start + self.widths[index])

    def _product(self, tensor: Tensor, start: int, stop: int) -> Tensor:
        """By the rows of the kernel from `start` to `stop`."""
        kernel = ops.cast(self.kernel, self.compute_dtype)[start:stop]
        return ops.matmul(ops.cast(tensor, self.compute_dtype), kernel)

    def encode_user(self, user: Tensor) -> Tensor:
        """The user part [B, H1], bias included, of `user` [B, U]; U may be 0."""
        check_rank("user", user, "batch width")
        bias = ops.cast(self.bias, self.compute_dtype)
        if self.widths[0] == 0:  # a product over nothing aborts the process inside oneDNN
            return ops.broadcast_to(bias, (ops.shape(user)[0], self.hidden_units[0]))
        return self._part("user", user, 0) + bias

    def encode_item(self, item: Tensor) -> Tensor:
        """The item part [B, N, H1] of `item` [B, N, I]."""
        check_rank("item", item, "batch candidates width")
        return self._part("item", item, 1)

    def score(self, user_part: Tensor, item_part: Tensor, pair: Tensor | None = None, training: bool = False) -> Tensor:
        """Logits of the parts.

        Args:
            user_part: of `encode_user`.
            item_part: of `encode_item`.
            pair: float [B, N, P], what holds for user and item together; None for a head that was built without.
            training: whether units are dropped.

        Returns:
            float32 [B, N], of several outputs [B, N, T], under every dtype policy.

        Raises:
            ValueError: `pair` is missing, unexpected, or of another rank or width than the head was built for.
        """
        self._check_pair(pair)
        hidden = ops.cast(item_part, self.compute_dtype)
        if pair is not None:
            hidden = hidden + self._part("pair", pair, 2)
        return self._first_activated(user_part, hidden, training)

    def score_items(
        self, user_part: Tensor, item: Tensor, pair: Tensor | None = None, training: bool = False
    ) -> Tensor:
        """As `score`, of items [B, N, I] whose part is not kept: item and pair part in one product, which is faster."""
        if pair is None:
            return self.score(user_part, self.encode_item(item), None, training)
        self._check_pair(pair)
        check_rank("item", item, "batch candidates width")
        check_axis("item", item, 2, self.widths[1], "the head was built")
        both = ops.concatenate([ops.cast(tensor, self.compute_dtype) for tensor in (item, pair)], axis=-1)
        if training:
            return self._first_activated(user_part, self._product(both, self.widths[0], sum(self.widths)), training)
        bias = ops.cast(user_part, self.compute_dtype)
        hidden = dense_by_request(
            both, lambda: ops.cast(self.kernel, self.compute_dtype)[self.widths[0] :], bias, self.activation
        )
        batch, candidates = ops.shape(item)[:2]
        return self._logits(hidden, batch, candidates, training)

    def _check_pair(self, pair: Tensor | None) -> None:
        width = self.widths[2]
        if (pair is None) != (width == 0):
            expected = f"have shape (batch, candidates, {width})" if width else "be None, as the head was built without"
            raise ValueError(f"`pair` must {expected}. Received: {None if pair is None else tuple(pair.shape)}")
        if pair is not None:
            check_rank("pair", pair, "batch candidates width")
            check_axis("pair", pair, 2, width, "the head was built")

    def _first_activated(self, user_part: Tensor, hidden: Tensor, training: bool) -> Tensor:
        """Logits of the first layer [B, N, H1] without the user's part."""
        hidden = self.activation(hidden + ops.expand_dims(ops.cast(user_part, self.compute_dtype), 1))
        batch, candidates, width = ops.shape(hidden)
        # In two dimensions TensorFlow adds bias and activation inside the product.
        return self._logits(ops.reshape(hidden, (-1, width)), batch, candidates, training)

    def _logits(self, hidden: Tensor, batch: Any, candidates: Any, training: bool) -> Tensor:
        """Logits of the first layer [B * N, H1]."""
        for layer in self.tail:
            hidden = layer(hidden, training=training) if isinstance(layer, keras.layers.Dropout) else layer(hidden)
        return ops.reshape(hidden, (batch, candidates, *self._several))

    @property
    def _several(self) -> tuple[int, ...]:
        return () if self.outputs == 1 else (self.outputs,)

    def call(self, user: Tensor, item: Tensor, pair: Tensor | None = None, training: bool = False) -> Tensor:
        """Logits float32 [B, N] or [B, N, T] of `user` [B, U], `item` [B, N, I] and `pair` [B, N, P] or None."""
        return self.score_items(self.encode_user(user), item, pair, training)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {
            **super().get_config(),
            "hidden_units": self.hidden_units,
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.dropout,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "outputs": self.outputs,
            "experts": self.experts,
        }
