"""From frozen content vectors to vectors that a model learns."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from dmf_keras.checks import check_axis, check_count, check_kind
from dmf_keras.ops.masked import without_padding
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.layers.ContentProjection")
class ContentProjection(keras.layers.Layer):
    """A learned projection of the content vectors of one modality: P m + b, and zeros where there is no content.

    The vectors stay frozen, the projection is trained. An item without content is exact zeros and not b, so that b also
    says that there is content. What a missing vector holds is never looked at.

    Args:
        units: int, width of the output.
        kernel_initializer: of P; b starts at zero.

    Examples:

    >>> from dmf_keras.layers import ContentProjection
    >>> layer = ContentProjection(units=4)
    >>> projected = layer(np.ones((2, 5, 16), "float32"), np.array([[True] * 5, [False] * 5]))
    >>> tuple(projected.shape), bool(keras.ops.any(projected[1] != 0))
    ((2, 5, 4), False)

    References:
        QIN, arXiv:2504.17699, which projects without b.
    """

    def __init__(self, units: int, kernel_initializer: Any = "glorot_uniform", **kwargs: Any) -> None:
        # Without autocast=False a mixed policy would convert the vectors of missing content too.
        super().__init__(autocast=False, **kwargs)
        self.units = check_count("units", units)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, vectors_shape: Any, present_shape: Any = None) -> None:
        """Creates the weights."""
        self.width = vectors_shape[-1]
        self.dense = keras.layers.Dense(
            self.units, kernel_initializer=self.kernel_initializer.clone(), dtype=self.dtype_policy, name="dense"
        )
        self.dense.build((None, self.width))

    def call(self, vectors: Tensor, present: Tensor) -> Tensor:
        """Projected vectors.

        Args:
            vectors: float [..., D] content vectors; those that are not present may be anything.
            present: bool [...], whether there is content.

        Returns:
            [..., units] in the compute dtype.

        Raises:
            ValueError: another width than that of `build`, or a presence that is not boolean or of another rank.
        """
        check_axis("vectors", vectors, len(vectors.shape) - 1, self.width, "the layer was built for")
        check_kind("present", present, "bool")
        if len(present.shape) != len(vectors.shape) - 1:
            raise ValueError(
                "`present` must have the dimensions of `vectors` without the last. Received: shapes "
                f"{tuple(present.shape)} and {tuple(vectors.shape)}"
            )
        known = ops.cast(without_padding(vectors, present), self.compute_dtype)
        return without_padding(self.dense(known), present)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {
            **super().get_config(),
            "units": self.units,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
