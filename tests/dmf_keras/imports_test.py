"""What importing costs, in clean processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = {"tfx", "apache_beam", "tensorflow_transform", "tensorflow_model_analysis", "tfx_pipeline", "serving"}


def _loaded_after(statement: str) -> set[str]:
    """Top-level modules in a new process that ran `statement`."""
    code = f"import json, sys; {statement}; print(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    output = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return set(json.loads(output.splitlines()[-1]))


def test_the_package_alone_is_light():
    assert not _loaded_after("import dmf_keras") & {"keras", "tensorflow", "numpy", "pydantic", *PIPELINE}


@pytest.mark.parametrize("statement", [
    "import dmf_keras.models.registry as r; r.model_config('dmf', {'alpha': 0.3})",
    "from dmf_keras.models import DMFConfig, RankingSchema, build_model, register_model",
    "import dmf_keras.models.inputs",
])  # fmt: skip
def test_configuration_needs_no_keras(statement):
    assert not _loaded_after(statement) & {"keras", "tensorflow", "numpy"}


def test_metrics_on_arrays_need_no_keras():
    statement = "from dmf_keras.metrics import grouped_auc; grouped_auc([1, 1], [0, 1], [0.2, 0.3])"
    assert not _loaded_after(statement) & {"keras", "tensorflow"}


def test_the_whole_library_needs_no_pipeline():
    """All public names, those that load on first use included."""
    parts = ("layers", "metrics", "models", "ops", "testing")
    loaded = _loaded_after(";".join(f"from dmf_keras.{part} import *" for part in parts))
    assert "keras" in loaded
    assert not loaded & PIPELINE


def test_unknown_names_are_attribute_errors_that_list_what_exists():
    import dmf_keras
    import dmf_keras.metrics
    import dmf_keras.models

    for module in (dmf_keras, dmf_keras.metrics, dmf_keras.models):
        with pytest.raises(AttributeError, match="has no attribute 'nothing'; it has: "):
            module.nothing  # noqa: B018
        for name in module.__all__:
            assert getattr(module, name) is not None
