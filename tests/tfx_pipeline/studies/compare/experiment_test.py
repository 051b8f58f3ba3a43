"""Which trainings a comparison does again: those of a model whose own code or hyper-parameters changed, no other."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from dmf_keras.models import registry
from tests.tfx_pipeline.config.conftest import MINIMAL
from tfx_pipeline.config import load_config
from tfx_pipeline.studies.compare import experiment
from tfx_pipeline.studies.compare.contenders import make_plan

_MODULE = "my_retrained_models"
_REGISTERS = f"""
from dmf_keras.models import MeanPoolingConfig
from dmf_keras.models.mean_pooling.model import MeanPooling
from dmf_keras.models.registry import register_model

class Mine(MeanPooling):
    pass

register_model("mine", MeanPoolingConfig, "{_MODULE}:Mine")
"""


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """trained(params): labels that a comparison trains anew, with these `params` of the own model."""
    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / f"{_MODULE}.py").write_text(_REGISTERS)
    done: list[str] = []

    def finish(trial, _data, folder, _progress, _had):
        folder.mkdir(parents=True)
        (folder / "result.json").touch()
        done.append(trial.label)

    monkeypatch.setattr(experiment, "finish", finish)
    monkeypatch.setattr(experiment, "read_finished", lambda folder, catalogue: folder)

    def _trained(params: str) -> list[str]:
        file = tmp_path / "config.yaml"
        file.write_text(f"{MINIMAL.rstrip()}\nmodel: {{name: mine, module: {_MODULE}, params: {params}}}\n")
        config = load_config(file)
        done.clear()
        plan = make_plan(config, ["dmf", "din", "mine"], 2, "dmf")
        data = SimpleNamespace(digest="data", training_data=SimpleNamespace(objectives={}, age_buckets=None))
        experiment._train_all(config, plan, data, tmp_path / "compare")
        return list(done)

    yield _trained
    sys.modules.pop(_MODULE, None)


def test_a_model_of_ones_own_trains_no_model_of_the_library_again(trained, tmp_path):
    assert trained("{id_dim: 8}") == ["dmf", "din", "mine"] * 2
    assert trained("{id_dim: 8}") == []
    # The library's models have an `id_dim` too.
    assert trained("{id_dim: 4}") == ["mine"] * 2
    (tmp_path / f"{_MODULE}.py").write_text(f"{_REGISTERS}\nCHANGED = True\n")
    assert trained("{id_dim: 4}") == ["mine"] * 2
    assert trained("{id_dim: 8}") == ["mine"] * 2
