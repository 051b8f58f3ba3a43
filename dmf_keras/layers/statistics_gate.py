"""Two vectors of an item, weighed by what is known of the item."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from dmf_keras.checks import check_axis, check_count, check_kind
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.layers.StatisticsGate")
class StatisticsGate(keras.layers.Layer):
    """The sum of two vectors of an item, weighed by a number that an MLP makes of the item's statistics.

        g = sigmoid(w_2 . relu(W_1 s + b_1) + b_2)
        e = g e_one + (1 - g) e_other

    Where there is no `other`, e is e_one as it is. The gate is computed in float32 under every dtype policy.

    Args:
        units: int, width of the hidden layer.

    Examples:

    >>> from dmf_keras.layers import StatisticsGate
    >>> rng = np.random.default_rng(0)
    >>> statistics = rng.random((2, 5, 1)).astype("float32")
    >>> ids, semantic = rng.normal(size=(2, 2, 5, 8)).astype("float32")
    >>> tuple(StatisticsGate()(statistics, ids, semantic, np.ones((2, 5), bool)).shape)
    (2, 5, 8)

    Raises:
        ValueError: units that are no positive integer.

    References:
        SID-Coord, arXiv:2604.10471 (between the embedding of an id and that of semantic ids).
    """

    def __init__(self, units: int = 16, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.units = check_count("units", units)
        self.hidden = keras.layers.Dense(self.units, activation="relu", dtype="float32", name="hidden")
        self.logit = keras.layers.Dense(1, dtype="float32", name="logit")

    def build(self, statistics_shape: Any, *_: Any, **__: Any) -> None:
        """Creates the weights."""
        self.hidden.build(statistics_shape)
        self.logit.build((*statistics_shape[:-1], self.units))

    def gate(self, statistics: Tensor) -> Tensor:
        """g float32 [...] of statistics float [..., S]."""
        return ops.sigmoid(self.logit(self.hidden(ops.cast(statistics, "float32"))))[..., 0]

    def call(self, statistics: Tensor, one: Tensor, other: Tensor, present: Tensor) -> Tensor:
        """The weighed sum.

        Args:
            statistics: float [..., S].
            one: float [..., D].
            other: float [..., D].
            present: bool [...], whether there is `other`, which may be anything where not.

        Returns:
            [..., D] in the compute dtype.

        Raises:
            ValueError: wrong dtypes, or vectors of different widths.
        """
        check_kind("present", present, "bool")
        check_axis("other", other, -1, one.shape[-1], "the vectors of `one`")
        gate = ops.expand_dims(ops.cast(self.gate(statistics), self.compute_dtype), -1)
        one, other = ops.cast(one, self.compute_dtype), ops.cast(other, self.compute_dtype)
        there = ops.expand_dims(present, -1)
        return ops.where(there, gate * one + (1 - gate) * ops.where(there, other, 0), one)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {**super().get_config(), "units": self.units}
