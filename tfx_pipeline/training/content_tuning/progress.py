"""Where a fine-tuning stands after an epoch, in a file: a killed one goes on from there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydantic

from tfx_pipeline.files.array_file import read_arrays, write_arrays
from tfx_pipeline.training.content_tuning.record import TunedEpoch

_QUEUE, _BEST, _HEADS = "queue", "best ", "heads "


@dataclass
class Progress:
    """After an epoch.

    Attributes:
        epochs: those that are done, the state before training first.
        best: which of them is best on eval.
        judged: clicks of eval that says so.
        random: state of the generator that draws batches, as `numpy.random.BitGenerator.state` has it.
        best_kernels: float32 [width, dim] of each modality, of the best epoch.
        queue: int64 [queue], items as `_Queue` has them.
        heads: arrays of `Heads.state`.
    """

    epochs: list[TunedEpoch]
    best: int
    judged: int
    random: Any
    best_kernels: list[np.ndarray]
    queue: np.ndarray
    heads: list[np.ndarray]

    def save(self, file: Path) -> None:
        """Replaces the file, whose name ends in `.npz`."""
        epochs = _EPOCHS.dump_python(self.epochs, mode="json")
        facts = {"epochs": epochs, "best": self.best, "judged": self.judged, "random": self.random}
        best = {f"{_BEST}{place}": kernel for place, kernel in enumerate(self.best_kernels)}
        heads = {f"{_HEADS}{place}": array for place, array in enumerate(self.heads)}
        write_arrays(file, {_QUEUE: self.queue, **best, **heads}, facts)

    @classmethod
    def load(cls, file: Path) -> Progress | None:
        """What `save` wrote; None where there is no such file, or one that cannot be read: training begins anew."""
        try:
            arrays, facts = read_arrays(file)
            epochs = _EPOCHS.validate_python(facts["epochs"])
            best, heads = (
                [array for name, array in arrays.items() if name.startswith(kind)] for kind in (_BEST, _HEADS)
            )
            return cls(epochs, facts["best"], facts["judged"], facts["random"], best, arrays[_QUEUE], heads)
        except (KeyError, ValueError):
            return None


_EPOCHS = pydantic.TypeAdapter(list[TunedEpoch])
