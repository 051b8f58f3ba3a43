"""Memory that a training step frees is there for the next one, and goes back after training."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Page faults of ten arrays of 100 MiB, one after the other, and what the process holds after each part, in MiB.
PROGRAM = """
import resource, threading
import numpy as np
from tfx_pipeline.training.freed_memory import freed_memory_kept, use_one_arena

def held():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() >> 20

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        array = np.empty(100 << 20, np.uint8)
        array[::4096] = 1
        del array
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def in_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(faults()))
    thread.start()
    thread.join()
    return found[0]

use_one_arena()
before = held()
print(in_thread())
with freed_memory_kept():
    faults()
    print(faults())
    print(in_thread())
    print(held() - before)
print(held() - before)
print(in_thread())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is that of Linux")
def test_freed_memory_stays_while_training_and_goes_back_after_it():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    default, kept, kept_in_thread, held, after, default_again = map(int, done.stdout.split())
    # NumPy asks for huge pages of 2 MiB, where the system has them.
    assert default > 10 * 40 and default_again > 10 * 40
    assert kept < default / 10 and kept_in_thread < default / 10
    assert held > 90 > 20 > after
