"""What a step of a training changes, as arrays: a killed training of our own loop goes on from them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np


class Resumable(ABC):
    """Something with variables that steps change."""

    @abstractmethod
    def _variables(self) -> list[Any]:
        """All that a step changes, in an order that settings alone decide."""

    @property
    def state(self) -> list[np.ndarray]:
        """All that a step changes."""
        return [variable.numpy() for variable in self._variables()]

    def restore(self, state: Sequence[np.ndarray]) -> None:
        """Takes a `state` of something made alike."""
        for variable, value in zip(self._variables(), state, strict=True):
            variable.assign(value)
