"""Runs the examples in the docstrings of all that is public, which docs/layers shows, and those of docs/LIBRARY.md."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import dmf_keras.layers
import dmf_keras.metrics
import dmf_keras.models
import dmf_keras.ops

LIBRARY = Path(__file__).resolve().parents[2] / "docs" / "LIBRARY.md"
_OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def _public(package: Any) -> dict[str, Any]:
    """Path -> class or function, without what Keras or Python brings."""
    return {f"{package.__name__}.{name}": getattr(package, name) for name in package.__all__}


def _examples(path: str, documented: Any) -> list[doctest.DocTest]:
    """Of the object and of its methods, those that have any; to each of them `keras` and `np` are known."""
    found = doctest.DocTestFinder().find(documented, path, globs={"keras": keras, "np": np})
    return [test for test in found if test.examples]


_LAYERS = _public(dmf_keras.layers)
_OTHERS = {
    path: documented
    for package in (dmf_keras.ops, dmf_keras.metrics, dmf_keras.models)
    for path, documented in _public(package).items()
    if _examples(path, documented)
}


def _failures(tests: list[doctest.DocTest]) -> str:
    """What doctest says of them; empty when all are true."""
    runner, output = doctest.DocTestRunner(verbose=False, optionflags=_OPTIONS), []
    for test in tests:
        runner.run(test, out=output.append)
    return "".join(output)


def _check(tests: list[doctest.DocTest]) -> None:
    if failures := _failures(tests):  # an assert would cut the text short
        pytest.fail(failures, pytrace=False)


@pytest.mark.parametrize("path", _LAYERS)
def test_a_layer_has_examples_that_are_true(path):
    tests = _examples(path, _LAYERS[path])
    assert any(test.name == path for test in tests), "the docstring of the class has no example"
    assert any(example.want for test in tests for example in test.examples), "no example shows what comes out"
    _check(tests)


@pytest.mark.parametrize("path", _OTHERS)
def test_examples_are_true(path):
    _check(_examples(path, _OTHERS[path]))


def test_a_wrong_example_fails():
    def wrong():
        """Adds.

        >>> np.add(1, 1).item()
        3
        """

    assert "Expected:\n    3\nGot:\n    2" in _failures(_examples("wrong", wrong))


def test_the_code_of_the_library_page_runs(tmp_path, monkeypatch):
    """One program, block after block, as a reader would type it."""
    blocks = re.findall(r"^```python\n(.*?)^```$", LIBRARY.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 5
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "library_page"}
    for block in blocks:
        exec(compile(block, LIBRARY.name, "exec"), names)
    np.testing.assert_allclose(np.asarray(names["same"]), np.asarray(names["logits"]), atol=1e-6)
    assert names["result"].impression_weighted == 0.5
