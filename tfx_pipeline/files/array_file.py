"""Files of any number of arrays by name, with what JSON can say of them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from serving.messages import first_line
from tfx_pipeline.files.writing import writing

_FACTS = "facts"


class UnreadableArrays(ValueError):
    """A file that is not there, is damaged, or was not written by `write_arrays`."""


def write_arrays(file: Path, arrays: Mapping[str, np.ndarray], facts: Any) -> None:
    """Writes any number of arrays and what JSON can say of them to an `.npz` file, by atomic rename.

    Args:
        file: whose name ends in `.npz`.
        arrays: by name, none of which is "facts".
        facts: JSON-able.
    """
    with writing(file) as incoming:
        np.savez(incoming, **{_FACTS: np.array(json.dumps(facts)), **arrays})  # type: ignore[arg-type]


def read_arrays(file: Path) -> tuple[dict[str, np.ndarray], Any]:
    """Arrays by name, in the order in which they were written, and facts.

    Raises:
        UnreadableArrays: see there.
    """
    try:
        with np.load(file, allow_pickle=False) as stored:
            facts = json.loads(stored[_FACTS].item())
            return {name: stored[name] for name in stored.files if name != _FACTS}, facts
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise UnreadableArrays(first_line(error)) from None
