"""New versions of a model in the base path of a running server, one after the other."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

# How often a server is asked whether it has the newest version.
_LOOK_SECONDS = 0.1


def publish_version(source: Path, base_dir: Path, version: int) -> Path:
    """A copy of an exported model as a version of a base path, complete from the moment it appears.

    Files are hard links where the file system lets them.

    Raises:
        FileExistsError: the version is there already.
    """
    target = base_dir / str(version)
    if target.exists():
        raise FileExistsError(f"version {version} is already in {base_dir}")
    partial = base_dir / f".{version}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial, copy_function=_link)
    os.rename(partial, target)
    return target


class VersionSwapper:
    """Publishes a further version every few seconds, from several models in turn; a context manager.

    Not before the server has the last one: a server that loads for longer than that would skip versions, and take up
    those of one model alone. The version before the newest is withdrawn then.

    Args:
        base_dir: what the server watches; it has the first version when this is made.
        sources: exported models. Version v is a copy of number (v - 1) modulo their number.
        every: seconds between two versions; None for no further ones.
        is_served: whether the server has a version.

    Attributes:
        published: number of the newest version.
        served: number of the newest that the server is known to have.
    """

    def __init__(self, base_dir: Path, sources: Sequence[Path], every: float | None, is_served: Callable[[int], bool]):
        self._base_dir = base_dir
        self._sources = sources
        self._every = every
        self._is_served = is_served
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._swap, name="version-swapper", daemon=True)
        self._broken: BaseException | None = None
        self.published = self.served = 1

    def source_of(self, version: int) -> int:
        """Which of the sources a version is a copy of."""
        return (version - 1) % len(self._sources)

    def _swap(self) -> None:
        try:
            begun = time.monotonic()
            while not self._stopped.wait(self._left(begun)):
                begun = time.monotonic()
                version = self.published + 1
                publish_version(self._sources[self.source_of(version)], self._base_dir, version)
                self.published = version
                while not self._is_served(version):
                    if self._stopped.wait(_LOOK_SECONDS):
                        return
                self.served = version
                _withdraw(self._base_dir, version - 1)
        except BaseException as error:
            self._broken = error

    def _left(self, begun: float) -> float | None:
        return None if self._every is None else max(0.0, begun + self._every - time.monotonic())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()
        if self._broken is not None and error is None:
            raise self._broken


def _withdraw(base_dir: Path, version: int) -> None:
    """Removes a version, whole from one moment to the next."""
    gone = base_dir / f".{version}.gone"
    os.rename(base_dir / str(version), gone)
    shutil.rmtree(gone)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
