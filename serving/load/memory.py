"""The memory of another process while it works."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Self


class MemorySampler:
    """Looks at the resident memory of a process until the block ends; Linux.

    Args:
        pid: of the process.
        every: seconds between two looks.

    Attributes:
        samples: bytes, in the order of time.
    """

    def __init__(self, pid: int, every: float = 0.25):
        self._statm = Path(f"/proc/{pid}/statm")
        self._every = every
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="memory-sampler", daemon=True)
        self.samples: list[int] = []

    def figures(self) -> dict[str, int] | None:
        """Medians of the first and the last quarter, and the largest sample, in bytes; None after less than 4 looks."""
        quarter = len(self.samples) // 4
        if not quarter:
            return None
        return {
            "first_quarter": round(median(self.samples[:quarter])),
            "last_quarter": round(median(self.samples[-quarter:])),
            "peak": max(self.samples),
        }

    def _sample(self) -> None:
        page = os.sysconf("SC_PAGE_SIZE")
        while True:
            try:
                self.samples.append(int(self._statm.read_text().split()[1]) * page)
            except (OSError, IndexError):
                # The process has ended.
                return
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
