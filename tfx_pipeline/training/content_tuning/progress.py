"""Where a fine-tuning stands after an epoch, in a file: a killed one goes on from there."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydantic

from tfx_pipeline.files.writing import writing
from tfx_pipeline.training.content_tuning.record import TunedEpoch

_FACTS = "facts"


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
        arrays: dict[str, Any] = {f"best {place}": kernel for place, kernel in enumerate(self.best_kernels)}
        arrays |= {f"heads {place}": array for place, array in enumerate(self.heads)}
        arrays |= {"queue": self.queue, _FACTS: np.array(json.dumps(facts))}
        with writing(file) as incoming:
            np.savez(incoming, **arrays)

    @classmethod
    def load(cls, file: Path) -> Progress | None:
        """What `save` wrote; None where there is no such file, or one that cannot be read: training begins anew."""
        try:
            with np.load(file) as stored:
                facts = json.loads(str(stored[_FACTS]))
                groups: dict[str, list[np.ndarray]] = {"best": [], "heads": []}
                for name in stored.files:
                    if " " in name:
                        groups[name.partition(" ")[0]].append(stored[name])
                queue = stored["queue"]
            epochs = _EPOCHS.validate_python(facts["epochs"])
            best, judged, random = (facts[name] for name in ("best", "judged", "random"))
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            return None
        return cls(epochs, best, judged, random, groups["best"], queue, groups["heads"])


_EPOCHS = pydantic.TypeAdapter(list[TunedEpoch])
