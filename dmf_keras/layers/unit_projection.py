"""A learned linear map to vectors of length 1, whose dot products are cosines."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from dmf_keras.checks import check_axis, check_count
from dmf_keras.ops.cosine import unit
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.layers.UnitProjection")
class UnitProjection(keras.layers.Layer):
    """A learned linear map followed by division by the length: y = W x / |W x|, and zeros for zeros.

    The head that contrastive learning trains on frozen vectors. It has no bias and no hidden layer, so that it is a
    matrix: whatever stores a projection of vectors can store it, and a new item needs nothing else. The length is
    computed in float32 under every dtype policy.

    Args:
        units: int, width of the output.
        kernel_initializer: of W, [width, units]; orthogonal columns keep cosines as well as a random map can.

    Examples:

    >>> from dmf_keras.layers import UnitProjection
    >>> projected = UnitProjection(units=4)(np.ones((2, 5, 16), "float32"))
    >>> tuple(projected.shape), round(float(keras.ops.norm(projected[0, 0])), 4)
    ((2, 5, 4), 1.0)

    Raises:
        ValueError: units that are no positive integer.

    References:
        SimCLR, arXiv:2002.05709 (a projection head below a contrastive loss, there with a hidden layer).
    """

    def __init__(self, units: int, kernel_initializer: Any = "orthogonal", **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.units = check_count("units", units)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, vectors_shape: Any) -> None:
        """Creates W."""
        self.width = vectors_shape[-1]
        self.kernel = self.add_weight(
            shape=(self.width, self.units), initializer=self.kernel_initializer.clone(), name="kernel"
        )

    def call(self, vectors: Tensor) -> Tensor:
        """Projected vectors of length 1.

        Args:
            vectors: float [..., D].

        Returns:
            [..., units] in the compute dtype; zeros where the projection has no length.

        Raises:
            ValueError: another width than that of `build`.
        """
        check_axis("vectors", vectors, -1, self.width, "the layer was built for")
        kernel = ops.cast(self.kernel, self.compute_dtype)
        return ops.cast(unit(ops.matmul(ops.cast(vectors, self.compute_dtype), kernel)), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {
            **super().get_config(),
            "units": self.units,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
