"""Checks of tensors and arguments; each message has the name, the rule and what was received.

Only static shapes are looked at, so a check costs nothing inside a compiled graph and unknown dimensions pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from dmf_keras.types import Tensor


def check_rank(name: str, tensor: Tensor, axes: str) -> None:
    """Raises ValueError unless `tensor` has one dimension per name in `axes`, such as "batch candidates width"."""
    names = axes.split()
    if len(tensor.shape) != len(names):
        raise ValueError(f"`{name}` must have shape ({', '.join(names)}). Received: shape {tuple(tensor.shape)}")


def check_axis(name: str, tensor: Tensor, axis: int, size: int | None, of: str) -> None:
    """Raises ValueError when dimension `axis` of `tensor` and `size` (which belongs to `of`) are known and differ."""
    actual = tensor.shape[axis]
    if actual is not None and size is not None and actual != size:
        raise ValueError(
            f"`{name}` must have {size} in dimension {axis}, as {of}. Received: shape {tuple(tensor.shape)}"
        )


def check_kind(name: str, tensor: Tensor, kind: str) -> None:
    """Raises ValueError unless the dtype of `tensor` is of `kind`: "bool", "int" or "float"."""
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    if not ("int" in dtype if kind == "int" else kind in dtype):
        raise ValueError(f"`{name}` must be of dtype {kind}. Received: dtype {dtype}, shape {tuple(tensor.shape)}")


def check_streams(streams: Sequence[Tensor], present: Sequence[Tensor] | None, count: int, width: int) -> None:
    """Raises ValueError unless there are `count` streams of `width` columns, each with a boolean presence if given."""
    if len(streams) != count or (present is not None and len(present) != count):
        given = f"{len(streams)} and {'none' if present is None else len(present)}"
        raise ValueError(
            f"`streams` and `present` must have {count} entries each, as the layer was built. Received: {given}"
        )
    for stream in streams:
        check_axis("streams", stream, len(stream.shape) - 1, width, "the layer was built")
    for there in present or ():
        check_kind("present", there, "bool")


def check_count(name: str, value: Any, least: int = 1) -> int:
    """Returns `value` when it is an int of at least `least`; raises ValueError otherwise."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"`{name}` must be an integer of at least {least}. Received: {value!r}")
    return value


def check_counts(name: str, values: Any) -> list[int]:
    """Returns `values`, widths of layers, as a list when there is one at least; raises ValueError otherwise."""
    counts = [check_count(name, value) for value in values]
    if not counts:
        raise ValueError(f"`{name}` must name at least one layer. Received: {values!r}")
    return counts


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """Returns `value` when it is one of `choices`; raises ValueError otherwise."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"`{name}` must be one of {', '.join(choices)}. Received: {value!r}")
    return value


def check_fraction(name: str, value: Any) -> float:
    """Returns `value` as a float when it is a number in [0, 1]; raises ValueError otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"`{name}` must be a number from 0 to 1. Received: {value!r}")
    return float(value)
