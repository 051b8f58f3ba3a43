"""A training that is killed by itself, at a point that no machine is too slow or too busy for."""

from __future__ import annotations

KILLED = """
import os, signal
from tfx_pipeline.training.callbacks import Throughput

count, steps = Throughput.on_train_batch_end, iter(range(300))


def on_train_batch_end(self, batch, logs=None):
    count(self, batch, logs)
    if next(steps, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)


Throughput.on_train_batch_end = on_train_batch_end
"""
"""What comes before a program that trains on the tiny world by two requests a step: it ends in the second epoch."""
