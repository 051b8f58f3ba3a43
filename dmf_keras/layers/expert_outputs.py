"""What the experts of an item's modalities give."""

from __future__ import annotations

from typing import NamedTuple

from dmf_keras.types import Tensor


class ExpertOutputs(NamedTuple):
    """What `ModalityExperts` makes of S streams; all [..., D], zeros where a stream is not present.

    Attributes:
        mixed: of each stream that was asked for, what goes on.
        specific: of the same streams, what its own expert says.
        shared: of each stream what the shared expert says.
        shared_mean: the mean of `shared` over the streams that are present.
    """

    mixed: list[Tensor]
    specific: list[Tensor]
    shared: list[Tensor]
    shared_mean: Tensor
