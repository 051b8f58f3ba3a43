"""What a measurement was taken on, as report files have it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Hardware:
    """Processor and accelerators.

    Attributes:
        cpu: model of the processor.
        cores: that the process may use; None where the system does not say.
        gpus: names of the accelerators that TensorFlow sees.
    """

    cpu: str
    cores: int | None
    gpus: Sequence[str]

    @property
    def hardware(self) -> str:
        """All of it in words."""
        gpus = f", {', '.join(self.gpus)}" if self.gpus else ""
        return f"{self.cpu}, {self.cores} cores{gpus}"
