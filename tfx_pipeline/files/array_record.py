"""Records of arrays and numbers that are files of their own."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Self

import numpy as np

from tfx_pipeline.files.writing import writing


class ArrayRecord:
    """Base of dataclasses whose fields are arrays and plain numbers: an `.npz` file and back."""

    def save(self: Any, file: Path) -> None:
        """Writes an `.npz` file, by atomic rename."""
        with writing(file) as incoming:
            np.savez_compressed(incoming, **dataclasses.asdict(self))

    @classmethod
    def load(cls, file: Path) -> Self:
        """Reads what `save` wrote."""
        with np.load(file) as arrays:
            values = {name: arrays[name] for name in arrays.files}
        return cls(**{name: value if value.ndim else value.item() for name, value in values.items()})
