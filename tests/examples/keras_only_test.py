"""The stand-alone example, as a reader runs it."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "keras_only.py"


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_it_learns_and_another_process_scores_the_same(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    # From a folder of its own, as of a project that has only installed the library.
    environment = {**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, str(EXAMPLE)],
        env=environment,
        cwd=EXAMPLE.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    values = dict(re.findall(r"^(AUC before|AUC after|Largest difference).*: (\S+)$", result.stdout, re.MULTILINE))
    # Random weights may rank a little to one side or the other.
    assert 0.3 < float(values["AUC before"]) < 0.7
    # The clicks' own causes rank with 0.758 (profile and topic), 0.769 (profile and appeal), 0.824 (all three).
    assert float(values["AUC after"]) > 0.78
    assert float(values["Largest difference"]) < 1e-6


def test_it_is_short():
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) < 60
