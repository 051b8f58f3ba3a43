"""What a measurement was taken on."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from tfx_pipeline.files.hardware import Hardware


@dataclass(frozen=True)
class Machine(Hardware):
    """What a measurement was taken on.

    Attributes:
        tensorflow: its version.
    """

    tensorflow: str

    @property
    def name(self) -> str:
        """All of it in words."""
        return f"{self.hardware}, TensorFlow {self.tensorflow}"


def machine() -> Machine:
    """The machine that this process runs on."""
    # Whoever only names a machine needs no TensorFlow.
    import tensorflow as tf

    gpus = [
        tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    return Machine(
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        gpus=gpus,
        tensorflow=tf.__version__,
    )


def _cpu_model() -> str:
    try:
        facts = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in facts.splitlines() if line.startswith("model name")]
    return models[0] if models else platform.machine()
