"""What a public layer must have besides its code; a new one without it fails here.

That it is exported under its name and documented is in `registration_test.py`.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import keras
import pytest

import dmf_keras.layers
import dmf_keras.metrics
from dmf_keras.registration import PUBLIC

TESTS = Path(__file__).resolve().parent
SOURCES = Path(dmf_keras.layers.__file__).parent
LAYERS = {name: getattr(dmf_keras.layers, name) for name in dmf_keras.layers.__all__}


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _called(path: Path) -> set[str]:
    """Names of the functions that the test functions of a file call."""
    tests = (
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )
    calls = (node.func for test in tests for node in ast.walk(test) if isinstance(node, ast.Call))
    return {function.id for function in calls if isinstance(function, ast.Name)}


def test_names_are_sorted_and_lead_to_layers():
    assert list(LAYERS) == sorted(LAYERS)
    assert [name for name, cls in LAYERS.items() if not issubclass(cls, keras.layers.Layer)] == []


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_in_the_file_of_its_name(name):
    assert LAYERS[name].__module__ == f"dmf_keras.layers.{_snake_case(name)}"


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_has_tests_which_run_the_checks_that_all_share(name):
    path = TESTS / "layers" / f"{_snake_case(name)}_test.py"
    assert path.exists(), f"{name} has no {path.name}"
    assert "check_layer" in _called(path), f"no test in {path.name} calls `check_layer`"
    assert re.search(rf"\b{name}\(|\b{name}\b[,)]", path.read_text(encoding="utf-8")), f"{path.name} makes no {name}"


def test_a_file_has_one_public_class():
    paths = [path for path in sorted(SOURCES.glob("*.py")) if path.name != "__init__.py"]
    assert len(paths) >= len(LAYERS)
    for path in paths:
        statements = ast.parse(path.read_text(encoding="utf-8")).body
        classes = [node.name for node in statements if isinstance(node, ast.ClassDef) and node.name[0] != "_"]
        assert [_snake_case(name) for name in classes] == [path.stem]


def test_keras_metrics_are_exported_too():
    metrics = [getattr(dmf_keras.metrics, name) for name in dmf_keras.metrics.__all__]
    streaming = {cls for cls in metrics if isinstance(cls, type) and issubclass(cls, keras.metrics.Metric)}
    assert streaming == {cls for path, cls in PUBLIC.items() if path.startswith("dmf_keras.metrics.")}


def test_checks_are_seen_only_where_a_test_calls_them(tmp_path):
    path = tmp_path / "some_test.py"
    path.write_text("def helper():\n    check_layer()\n\n\ndef test_it():\n    other()\n")
    assert _called(path) == {"other"}


@pytest.mark.parametrize(("name", "file"), [
    ("Dice", "dice"),
    ("SimilarityBuckets", "similarity_buckets"),
    ("EarlyFusionTargetAttention", "early_fusion_target_attention"),
])  # fmt: skip
def test_file_names(name, file):
    assert _snake_case(name) == file
