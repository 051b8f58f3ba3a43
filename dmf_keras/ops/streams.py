"""Streams of vectors, one a modality, of which an item need not have all."""

from __future__ import annotations

from collections.abc import Sequence

from keras import ops

from dmf_keras.checks import check_axis, check_kind
from dmf_keras.ops.masked import without_padding
from dmf_keras.types import Tensor


def real_streams(
    streams: Sequence[Tensor], present: Sequence[Tensor] | None, count: int, width: int, dtype: str
) -> tuple[list[Tensor], list[Tensor]]:
    """Streams [..., D] in `dtype` with zeros where they are not present, and where they are: bool [...] each.

    Args:
        streams: float [..., D], one a modality; where one is not present it may be anything.
        present: bool [...], one a modality; absent: all are there.
        count, width: of streams, and D, that a layer was built for.

    Raises:
        ValueError: another width or number of streams, or a presence that is not boolean.
    """
    if len(streams) != count or (present is not None and len(present) != count):
        given = f"{len(streams)} and {'none' if present is None else len(present)}"
        raise ValueError(
            f"`streams` and `present` must have {count} entries each, as the layer was built. Received: {given}"
        )
    for stream in streams:
        check_axis("streams", stream, len(stream.shape) - 1, width, "the layer was built")
    if present is None:
        present = [ops.ones(ops.shape(stream)[:-1], dtype="bool") for stream in streams]
    for there in present:
        check_kind("present", there, "bool")
    real = [ops.cast(without_padding(x, there), dtype) for x, there in zip(streams, present, strict=True)]
    return real, list(present)
