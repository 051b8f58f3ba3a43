"""The layers and ops on Keras's other backends, by the tests that they have on TensorFlow."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Not this folder: this file must not run itself. Of the tests of models, those that need nothing of TensorFlow.
SUITE = ["layers", "ops", "models/empty_test.py", "models/auxiliary_losses_test.py"]
# What each of them is told besides its name. JAX compiles thousands of small kernels, each of which runs a few times:
# without fusion emitters, which build a compiler of their own for each, that costs two thirds.
_JAX = {
    "JAX_PLATFORMS": "cpu",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "true",
    "XLA_FLAGS": "--xla_cpu_use_fusion_emitters=false",
}
BACKENDS = {"jax": _JAX, "torch": {}}

# The process that ran the tests says itself on which backend: the environment is only what was asked for.
_PROGRAM = """
import collections, json, sys
import pytest

class Count:
    outcomes = collections.Counter()

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.skipped:
            self.outcomes[report.outcome] += 1

status = int(pytest.main(sys.argv[1:], plugins=[Count()]))
import keras
tensor = keras.ops.zeros(())
print(json.dumps({"backend": keras.backend.backend(), "tensor": type(tensor).__module__, **Count.outcomes}))
sys.exit(status)
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_all_pass(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    # What pytest and xdist tell their own child processes is not meant for this one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"KERAS_BACKEND": backend, **BACKENDS[backend]}
    suite = [f"tests/dmf_keras/{part}" for part in SUITE]
    result = subprocess.run(
        # Property tests draw shapes, for each of which JAX compiles anew; what they show does not hang on a backend.
        [
            sys.executable,
            "-c",
            _PROGRAM,
            *suite,
            "-m",
            "not hypothesis",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
        ],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=3600,
    )
    assert result.returncode == 0, f"{result.stdout[-6000:]}\n{result.stderr[-2000:]}"
    ran = json.loads(result.stdout.splitlines()[-1])
    assert ran["backend"] == backend
    assert ran["tensor"].startswith(backend)
    # Skipped is what looks into a TensorFlow graph; were it much, the run would prove little.
    assert ran["passed"] > 250
    assert ran.get("skipped", 0) < ran["passed"] / 20
