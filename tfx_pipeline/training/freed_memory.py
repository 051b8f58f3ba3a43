"""What becomes of memory that TensorFlow frees: glibc keeps it for the next training step, which wants as much again.

By default it gives large blocks back to the system, which hands them out page by page when they are next touched: some
30,000 page faults a step of a large batch, a quarter of the time.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator

# Of malloc.h; see mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -3, -4, -8
# Where glibc ends up by itself in a process that frees large blocks, which it no longer does when told anything.
_AFTERWARDS = {_MMAP_MAX: 65536, _MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20}


def use_one_arena() -> None:
    """Lets all threads allocate from one heap; for the start of a process, as threads that are there keep theirs.

    Heaps of threads hold no block above 64 MiB, which then comes from the system after all. Without glibc: nothing.
    """
    _set(_ARENA_MAX, 1)


@contextlib.contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Inside the block what is freed stays with the process; after it, it goes back. Without glibc: nothing."""
    use_one_arena()
    # No block from the system alone, and -1: no heap is cut.
    _set(_MMAP_MAX, 0)
    _set(_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        for option, value in _AFTERWARDS.items():
            _set(option, value)
        if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
            trim(ctypes.c_size_t(0))


def _set(option: int, value: int) -> None:
    if (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(option, value)
