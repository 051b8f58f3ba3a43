"""Two towers and a dot product: a score whose item part can be indexed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from dmf_keras.checks import check_axis, check_count, check_counts, check_fraction, check_rank
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor

# Of a squared length: a tower may give zeros, whose direction is none.
_SMALLEST = 1e-12
# Of exp(scale): an angle of a hundredth is rounding noise for vectors in bfloat16.
_LARGEST_SCALE = 100.0


@dmf_keras_export("dmf_keras.layers.DotProductHead")
class DotProductHead(keras.layers.Layer):
    """The score of a user and an item is the dot product of two vectors, each made by an MLP of its own.

        u = s f(user) / |f(user)|,    v = g(item) / |g(item)|,    logit = u . v + c

    s = 1 / temperature is learned. Vectors of items do not depend on users, so a catalogue's can be kept, and the items
    with the highest logits are those with the largest dot products. c is a bias, which changes no order. It has the
    methods of `InterestHead` that models call, and no pair part.

    With several `outputs` each has a user vector of its own, beside the same item vectors.

    Args:
        dim: int, D, width of the vectors.
        hidden_units: widths of the hidden layers of either MLP; none: both are linear.
        temperature: float, at the start of training.
        activation: of the hidden layers; one that is 0 for all negative values can make a vector of zeros.
        dropout: share of each hidden layer that is dropped in training.
        outputs: logits per candidate.
        kernel_initializer: of all layers.

    Examples:

    >>> from dmf_keras.layers import DotProductHead
    >>> head = DotProductHead(16, hidden_units=[32])
    >>> user, item = np.ones((2, 4)), np.ones((2, 5, 3))
    >>> logits = head(user, item)
    >>> tuple(logits.shape)
    (2, 5)

    The same of the vectors:

    >>> u, v = head.encode_user(user), head.encode_item(item)
    >>> tuple(u.shape), tuple(v.shape)
    ((2, 16), (2, 5, 16))
    >>> dots = keras.ops.einsum("bd,bnd->bn", u, v) + head.bias[0]
    >>> bool(np.allclose(keras.ops.convert_to_numpy(dots), keras.ops.convert_to_numpy(logits), atol=1e-5))
    True

    References:
        Yi et al. 2019, Sampling-bias-corrected neural modeling for large corpus item recommendations (RecSys).
    """

    def __init__(
        self,
        dim: int,
        hidden_units: Sequence[int] = (),
        temperature: float = 0.1,
        activation: Any = "silu",
        dropout: float = 0.0,
        outputs: int = 1,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dim = check_count("dim", dim)
        self.hidden_units = check_counts("hidden_units", hidden_units) if len(hidden_units) else []
        if not temperature >= 1 / _LARGEST_SCALE:
            raise ValueError(f"`temperature` must be at least {1 / _LARGEST_SCALE:g}. Received: {temperature!r}")
        self.temperature = float(temperature)
        self.activation = keras.activations.get(activation)
        self.dropout = check_fraction("dropout", dropout)
        self.outputs = check_count("outputs", outputs)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, user_shape: Any, item_shape: Any, pair_shape: Any = None) -> None:
        """Creates the weights; `pair_shape` must be None."""
        if pair_shape is not None:
            raise ValueError(f"a dot product has no pair part: `pair_shape` must be None. Received: {pair_shape}")
        self.widths = [user_shape[-1], item_shape[-1]]
        self.users = self._tower("user", self.widths[0], self.dim * self.outputs)
        self.items = self._tower("item", self.widths[1], self.dim)
        start = keras.initializers.Constant(-np.log(self.temperature))
        self.log_scale = self.add_weight(name="log_scale", shape=(), initializer=start, dtype="float32")
        self.bias = self.add_weight(name="bias", shape=(self.outputs,), initializer="zeros", dtype="float32")

    def _tower(self, name: str, width: int, units: int) -> list[keras.layers.Layer]:
        """Hidden layers, each with its dropout, and the last layer, built."""
        layers: list[keras.layers.Layer] = []
        for place, hidden in enumerate([*self.hidden_units, units]):
            last = place == len(self.hidden_units)
            dense = keras.layers.Dense(
                hidden,
                activation=None if last else self.activation,
                kernel_initializer=self.kernel_initializer.clone(),
                dtype=self.dtype_policy,
                name=f"{name}_{place}",
            )
            # A product over nothing aborts the process inside oneDNN; a column of ones takes its place.
            dense.build((None, max(1, width)))
            layers += [dense] if last else [dense, keras.layers.Dropout(self.dropout, dtype=self.dtype_policy)]
            width = hidden
        return layers

    def encode_user(self, user: Tensor, training: bool = False) -> Tensor:
        """User vectors float32 [B, T * D], those of the outputs side by side, of `user` [B, U]; U may be 0."""
        check_rank("user", user, "batch width")
        check_axis("user", user, 1, self.widths[0], "the head was built")
        if self.widths[0] == 0:
            user = ops.ones((ops.shape(user)[0], 1), dtype=self.compute_dtype)
        vectors = ops.reshape(self._through(self.users, user, training), (-1, self.outputs, self.dim))
        scale = ops.minimum(ops.exp(ops.cast(self.log_scale, "float32")), _LARGEST_SCALE)
        return ops.reshape(scale * _unit(vectors), (-1, self.outputs * self.dim))

    def encode_item(self, item: Tensor, training: bool = False) -> Tensor:
        """Item vectors float32 [B, N, D], of length 1, of `item` [B, N, I]."""
        check_rank("item", item, "batch candidates width")
        check_axis("item", item, 2, self.widths[1], "the head was built")
        return _unit(self._through(self.items, item, training))

    def _through(self, layers: list[keras.layers.Layer], inputs: Tensor, training: bool) -> Tensor:
        hidden = ops.cast(inputs, self.compute_dtype)
        for layer in layers:
            hidden = layer(hidden, training=training) if isinstance(layer, keras.layers.Dropout) else layer(hidden)
        return ops.cast(hidden, "float32")

    def score_items(
        self, user_part: Tensor, item: Tensor, pair: Tensor | None = None, training: bool = False
    ) -> Tensor:
        """Logits float32 [B, N], of several outputs [B, N, T].

        Args:
            user_part: of `encode_user`.
            item: float [B, N, I].
            pair: must be None.
            training: whether units of the items' tower are dropped.

        Raises:
            ValueError: a pair part, a wrong rank or width.
        """
        if pair is not None:
            raise ValueError(f"a dot product has no pair part: `pair` must be None. Received: {tuple(pair.shape)}")
        items = self.encode_item(item, training)
        users = ops.reshape(ops.cast(user_part, "float32"), (-1, self.outputs, self.dim))
        logits = ops.matmul(items, ops.transpose(users, (0, 2, 1))) + ops.cast(self.bias, "float32")
        return logits[..., 0] if self.outputs == 1 else logits

    def call(self, user: Tensor, item: Tensor, pair: Tensor | None = None, training: bool = False) -> Tensor:
        """Logits float32 [B, N] or [B, N, T] of `user` [B, U] and `item` [B, N, I]."""
        return self.score_items(self.encode_user(user, training), item, pair, training)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {
            **super().get_config(),
            "dim": self.dim,
            "hidden_units": self.hidden_units,
            "temperature": self.temperature,
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.dropout,
            "outputs": self.outputs,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


def _unit(vectors: Tensor) -> Tensor:
    return vectors * ops.rsqrt(ops.sum(ops.square(vectors), axis=-1, keepdims=True) + _SMALLEST)
