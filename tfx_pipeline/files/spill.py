"""Values of many keys, brought together on disk: for work that takes a key at a time and whose whole exceeds memory."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import tempfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

# A file each: well below the 1,024 that a process may open by default.
MAX_PARTS = 128


class Spill:
    """Pairs of key and value, written in any order and read part by part; all pairs of a key are in one part.

    The files have no names, so that a process which is killed leaves nothing. A context manager.

    Args:
        folder: on whose disk they are.
        parts: number of parts, from 1 to `MAX_PARTS`.
    """

    def __init__(self, folder: Path, parts: int) -> None:
        self._folder = folder
        with contextlib.ExitStack() as opened:
            # Unbuffered: a buffer that finds no room tries again when it is closed.
            self._files = [opened.enter_context(tempfile.TemporaryFile(buffering=0, dir=folder)) for _ in range(parts)]
            self._opened = opened.pop_all()

    def add(self, pairs: Iterable[tuple[str, Any]]) -> None:
        """Writes pairs, which are pickled: the more at a time, the less it costs.

        Raises:
            OSError: the disk is full; the message names the folder.
        """
        by_part: dict[int, list[tuple[str, Any]]] = defaultdict(list)
        for pair in pairs:
            by_part[zlib.crc32(pair[0].encode()) % len(self._files)].append(pair)
        for part, found in by_part.items():
            self._write(self._files[part], pickle.dumps(found, pickle.HIGHEST_PROTOCOL))

    def parts(self) -> Iterator[Iterator[tuple[str, Any]]]:
        """The pairs of each part, in the order in which they were added."""
        for file in self._files:
            file.seek(0)
            yield _pairs(file)

    def _write(self, file: Any, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[file.write(left) :]
        except OSError as error:
            raise OSError(error.errno, os.strerror(error.errno or 0), str(self._folder)) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()


def _pairs(file: Any) -> Iterator[tuple[str, Any]]:
    reader = io.BufferedReader(file, 1 << 20)
    try:
        while True:
            yield from pickle.load(reader)
    except EOFError:
        pass
    finally:
        # Closing the reader would close the file.
        reader.detach()
