"""Rows of tables for many positions of a batch that name few rows."""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import ops

from dmf_keras.types import Tensor

if keras.backend.backend() == "tensorflow":
    from dmf_keras.ops.tensorflow_kernels import dense_by_request, distinct, take_few, take_rows

    CAN_TELL_DISTINCT = True
else:
    from dmf_keras.ops.portable_kernels import dense_by_request, distinct, take_few, take_rows

    # Shapes that depend on values are for no other backend.
    CAN_TELL_DISTINCT = False

__all__ = ["CAN_TELL_DISTINCT", "dense_by_request", "distinct", "made_once", "take_few", "take_rows"]


def made_once(make: Callable[[Tensor, Tensor], Tensor], first: Tensor, second: Tensor, second_size: int) -> Tensor:
    """`make(first, second)` [B, W, D] of int tensors [B, W], made for each pair once, as [1, U, D], and looked up.

    A batch names few items many times. Where an item is more than a row of a table, what is made of it, and its
    gradient, then costs as much as the items, and not as the places where they occur.

    Args:
        make: of each pair the same, wherever it stands.
        first, second: not negative.
        second_size: that all of `second` are below.
    """
    pairs, places = distinct(ops.cast(first, "int64") * second_size + ops.cast(second, "int64"))
    each = [ops.expand_dims(ops.cast(part, "int32"), 0) for part in (pairs // second_size, pairs % second_size)]
    return take_rows(ops.squeeze(make(*each), 0), places)
