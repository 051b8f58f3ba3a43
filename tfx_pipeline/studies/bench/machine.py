"""What a measurement was taken on."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """Processor model, cores that this process may use, accelerators that TensorFlow sees, and its version."""
    # Whoever only names a machine needs no TensorFlow.
    import tensorflow as tf

    gpus = [
        tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpus": gpus,
        "tensorflow": tf.__version__,
    }


def machine_name(facts: Mapping[str, Any]) -> str:
    """What `machine` found, in words."""
    gpus = f", {', '.join(facts['gpus'])}" if facts["gpus"] else ""
    return f"{facts['cpu']}, {facts['cores']} cores{gpus}, TensorFlow {facts['tensorflow']}"


def _cpu_model() -> str:
    try:
        facts = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in facts.splitlines() if line.startswith("model name")]
    return models[0] if models else platform.machine()
