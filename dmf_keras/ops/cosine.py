"""Cosines that have a value and a gradient at zero vectors too."""

from __future__ import annotations

from keras import ops

from dmf_keras.types import Tensor

_SMALLEST_NORM = 1e-8


def unit(vectors: Tensor) -> Tensor:
    """Vectors of length 1.

    Args:
        vectors: float [..., D], finite. Computed in float32 whatever the dtype.

    Returns:
        float32 [..., D]; zeros, in value and in gradient, where the norm is below 1e-8.
    """
    vectors = ops.cast(vectors, "float32")
    squares = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
    known = squares > _SMALLEST_NORM**2
    # Chosen before the root: its gradient at 0 is infinite, and infinity times 0 is NaN.
    return ops.where(known, vectors, 0.0) * ops.rsqrt(ops.where(known, squares, 1.0))


def cosine(one: Tensor, other: Tensor) -> Tensor:
    """Cosine of vectors along the last axis.

    Args:
        one, other: float [..., D], finite. Computed in float32 whatever the dtype.

    Returns:
        float32 [...]; of a vector whose norm is below 1e-8 it is 0, and so are the gradients.
    """
    return ops.sum(unit(one) * unit(other), axis=-1)
