"""The memory of a run: processes that live at the same moment add up, and others do not."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from tfx_pipeline.runners.peak_memory import PeakMemory, resident_bytes

MEBIBYTE = 2**20
HELD = 150
# Holds memory, and says so; its own child does the holding, which so is a grandchild of this process.
_HOLDS = f"held = bytearray({HELD * MEBIBYTE}); print('held', flush=True); input()"
_STARTS = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_HOLDS!r}])"


def _holding() -> subprocess.Popen[str]:
    child = subprocess.Popen([sys.executable, "-c", _STARTS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "held\n"
    return child


def _end(child: subprocess.Popen[str]) -> None:
    child.communicate("\n", timeout=30)


@pytest.fixture(autouse=True)
def _no_peak_of_before(monkeypatch):
    """What the kernel remembers of this process and of children of other tests does not count."""
    monkeypatch.setattr(resource, "getrusage", lambda _who: resource.struct_rusage([0] * 16))


def test_the_memory_of_descendants_is_seen():
    alone = resident_bytes(os.getpid())
    child = _holding()
    held = resident_bytes(os.getpid()) - alone
    _end(child)
    assert HELD * MEBIBYTE < held < (HELD + 100) * MEBIBYTE
    assert resident_bytes(os.getpid()) - alone < HELD / 2 * MEBIBYTE


def _wait_for(held: Callable[[], bool]) -> None:
    """A busy machine may look seldom; whoever sees too little fails below."""
    ends = time.monotonic() + 20
    while not held() and time.monotonic() < ends:
        time.sleep(0.05)


@pytest.mark.parametrize(("at_once", "times"), [(True, 2), (False, 1)])
def test_peaks_add_up_only_where_they_coincide(at_once, times):
    alone = resident_bytes(os.getpid()) / MEBIBYTE
    with PeakMemory(every=0.02) as memory:
        first = _holding()
        if not at_once:
            _wait_for(lambda: memory.mebibytes - alone > HELD)
            _end(first)
        second = _holding()
        _wait_for(lambda: memory.mebibytes - alone > times * HELD)
        time.sleep(0.3)
        for child in (first, second) if at_once else (second,):
            _end(child)
    assert times * HELD < memory.mebibytes - alone < times * HELD + 0.7 * HELD


def test_a_peak_between_two_looks_counts(monkeypatch):
    monkeypatch.setattr(resource, "getrusage", lambda _who: resource.struct_rusage([0, 0, 90_000 * 1024, *[0] * 13]))
    with PeakMemory() as memory:
        pass
    assert memory.mebibytes == 90_000
