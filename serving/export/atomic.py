"""What is written beside or into an exported model appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Gives the block a path beside `path` to write to, and renames it to `path` when the block ends without an error.

    Args:
        path: of a file, which is replaced, or of a folder, which must not exist or be empty.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    yield partial
    os.replace(partial, path)
