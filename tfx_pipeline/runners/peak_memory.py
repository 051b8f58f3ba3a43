"""How much memory a run takes at once: this process and all that it started, at the same moment."""

from __future__ import annotations

import os
import resource
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

_PROC = Path("/proc")
# Places in /proc/PID/stat behind the name of the program, which may hold blanks: see proc(5).
_PARENT, _PAGES = 1, 21


class PeakMemory:
    """Looks at the resident memory of this process and its descendants until the block ends; Linux.

    A page that several processes share counts once for each of them.

    Args:
        every: seconds between two looks.
    """

    def __init__(self, every: float = 1.0):
        self._every = every
        self._highest = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="peak-memory", daemon=True)

    @property
    def seen_mebibytes(self) -> int:
        """The highest sum that was seen: of the block alone, whatever the process held before."""
        return round(self._highest / 2**20)

    @property
    def mebibytes(self) -> float:
        """The highest sum that was seen, and never less than the peak of the largest process, between two looks too."""
        # Linux counts in KiB. Of descendants the kernel knows those that have ended and were waited for.
        largest = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return max(self._highest / 2**20, largest / 1024)

    def _sample(self) -> None:
        while True:
            self._highest = max(self._highest, resident_bytes(os.getpid()))
            if self._stopped.wait(self._every):
                return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()


def resident_bytes(pid: int) -> int:
    """Resident memory of a process and its descendants together, as they are now; 0 where there is no /proc."""
    children: dict[int, list[int]] = {}
    pages: dict[int, int] = {}
    for folder in _PROC.glob("[0-9]*"):
        try:
            facts = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        pages[int(folder.name)] = int(facts[_PAGES])
        children.setdefault(int(facts[_PARENT]), []).append(int(folder.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return sum(pages.get(one, 0) for one in found) * os.sysconf("SC_PAGE_SIZE")
