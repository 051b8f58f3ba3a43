"""Streams of vectors, one a modality, of which an item need not have all."""

from __future__ import annotations

from collections.abc import Sequence

from keras import ops

from dmf_keras.ops.masked import without_padding
from dmf_keras.types import Tensor


def real_streams(
    streams: Sequence[Tensor], present: Sequence[Tensor] | None, dtype: str
) -> tuple[list[Tensor], list[Tensor]]:
    """Streams [..., D] in `dtype` with zeros where they are not present, and where they are: bool [...] each.

    Args:
        streams: float [..., D], one a modality; where one is not present it may be anything.
        present: bool [...], one a modality; None: all are there.
        dtype: of the result.
    """
    if present is None:
        present = [ops.ones(ops.shape(stream)[:-1], dtype="bool") for stream in streams]
    real = [ops.cast(without_padding(x, there), dtype) for x, there in zip(streams, present, strict=True)]
    return real, list(present)


def flat_streams(streams: Sequence[Tensor], present: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """The same in two dimensions: streams [M, D] and where they are present, bool [M].

    Args:
        streams: [..., D], one a modality.
        present: bool [...], one a modality.
    """
    flat = [ops.reshape(stream, (-1, stream.shape[-1])) for stream in streams]
    return flat, [ops.reshape(there, (-1,)) for there in present]
