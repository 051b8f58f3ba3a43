"""A base path that a server watches, and versions to put there."""

from __future__ import annotations

import shutil


class Folder:
    """A base path; versions of `models` are put there under any number, whole or by and by."""

    def __init__(self, path, models):
        self.path = path
        self.models = models

    def add(self, number: int, model: int | None = None):
        """A version, by atomic rename; model `number` unless another is named."""
        partial = self.path / f"{number}.partial"
        shutil.copytree(self.models / str(model or number), partial)
        partial.rename(self.path / str(number))
        return self.path / str(number)

    def remove(self, number: int) -> None:
        shutil.rmtree(self.path / str(number))
