"""Where the training of a tower stands after an epoch, in a file: a killed one goes on from there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfx_pipeline.files.array_file import read_arrays, write_arrays


@dataclass
class Progress:
    """After an epoch.

    Attributes:
        made_of: of what it learns; what was kept of other texts or settings is worth nothing.
        epochs: how many are done.
        loss: mean of the last.
        seconds: that they took.
        random: state of the generator that draws batches, as `numpy.random.BitGenerator.state` has it.
        learner: all that a step changes.
    """

    made_of: str
    epochs: int
    loss: float
    seconds: float
    random: Any
    learner: list[np.ndarray]

    def save(self, file: Path) -> None:
        """Replaces the file, whose name ends in `.npz`."""
        facts = {"made_of": self.made_of, "epochs": self.epochs, "loss": self.loss, "seconds": self.seconds}
        arrays = {str(place): array for place, array in enumerate(self.learner)}
        write_arrays(file, arrays, facts | {"random": self.random})

    @classmethod
    def load(cls, file: Path, made_of: str) -> Progress | None:
        """What `save` wrote; None where there is nothing of this training that can be read: it begins anew."""
        try:
            arrays, facts = read_arrays(file)
            kept = cls(learner=list(arrays.values()), **facts)
        except (TypeError, ValueError):
            return None
        return kept if kept.made_of == made_of else None
