"""The layers and ops on Keras's other backends, by the tests that they have on TensorFlow."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
# Not this folder: this file must not run itself. Of the tests of models, those that need nothing of TensorFlow.
SUITE = ["layers", "ops", "models/auxiliary_losses_test.py", "models/empty_test.py"]
# JAX compiles each op anew for each shape. It has, of each layer, op and loss, the equality with NumPy or a textbook
# form, the gradients and every way of running, in one case of those that differ in numbers alone; and a few models.
# PyTorch, which compiles nothing, has all of it.
NAMES_OF_JAX = (
    "equal",
    "layer_checks",
    "gradient",
    "definition",
    "textbook",
    "is_the_call",
    "every_way",
    "counts_edges",
    "is_the_logit",
    "history_of_padding[dmf]",
    "history_of_padding[mim]",
    "history_of_padding[make]",
)
# What each of them is told besides its name. JAX compiles thousands of small kernels, each of which runs a few times:
# without fusion emitters, which build a compiler of their own for each, that costs two thirds.
_JAX = {
    "JAX_PLATFORMS": "cpu",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "true",
    "XLA_FLAGS": "--xla_cpu_use_fusion_emitters=false",
}
BACKENDS = {"jax": _JAX, "torch": {}}
# Of layers that have files of their own.
_OF_SEVERAL = ("layers/empty_test.py", "layers/padding_test.py")

# The process that ran the tests says itself on which backend: the environment is only what was asked for.
_PROGRAM = """
import collections, json, sys
import pytest

names = json.loads(sys.argv.pop(1))

# The test's name, and those of its parameters that are more than numbers.
def kind(item):
    parameters = sorted(item.callspec.params.items()) if hasattr(item, "callspec") else []
    return item.nodeid.partition("[")[0], *((key, str(value)) for key, value in parameters if not of_numbers(value))

def of_numbers(value):
    return all(isinstance(part, (int, float)) for part in (value if isinstance(value, (tuple, list)) else [value]))

class Count:
    outcomes = collections.Counter()
    files = set()

    def pytest_collection_modifyitems(self, items):
        if names:
            chosen = [item for item in items if any(name in item.name for name in names)]
            items[:] = {kind(item): item for item in chosen}.values()

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.skipped:
            self.outcomes[report.outcome] += 1
        if report.when == "call" and report.passed:
            self.files.add(report.nodeid.partition("::")[0])

status = int(pytest.main(sys.argv[1:], plugins=[Count()]))
import keras
tensor = keras.ops.zeros(())
ran = {"backend": keras.backend.backend(), "tensor": type(tensor).__module__, "files": sorted(Count.files)}
print(json.dumps({**ran, **Count.outcomes}))
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
            json.dumps(NAMES_OF_JAX if backend == "jax" else ()),
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
    assert ran["passed"] > (100 if backend == "jax" else 250)
    assert ran.get("skipped", 0) < ran["passed"] / 20
    parts = {path.relative_to(ROOT).as_posix() for part in SUITE[:2] for path in (FOLDER / part).glob("*_test.py")}
    assert parts - {f"tests/dmf_keras/{name}" for name in _OF_SEVERAL} <= set(ran["files"])
