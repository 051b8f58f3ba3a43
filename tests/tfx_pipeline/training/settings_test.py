"""Settings of the steps that train: what the pipeline writes is what the user function reads."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import pytest
from tfx.types import standard_artifacts, standard_component_specs
from tfx.utils import json_utils

from dmf_keras.models import registry
from tfx_pipeline.config import load_config
from tfx_pipeline.config.schema import Threshold
from tfx_pipeline.training.input_uris import CONTENT, REPORT, REQUESTS, uri_of, with_uris
from tfx_pipeline.training.search.settings import SearchSettings
from tfx_pipeline.training.settings import TrainingSettings

ROOT = Path(__file__).resolve().parents[3]
BOTH = pytest.mark.parametrize("kind", [TrainingSettings, SearchSettings])


@pytest.fixture(scope="module")
def config():
    return load_config(ROOT / "pipeline_config.yaml", ["serving.explain=true", "history.max_length=7"])


@BOTH
def test_what_is_written_is_read_back(config, kind):
    settings = kind.of(config, "digest")
    written = settings.to_custom_config()
    # TFX writes it into the metadata as JSON, and the executor adds to it.
    read = kind.from_custom_config({**json.loads(json.dumps(written)), "content_uri": "/artifacts/content/1"})
    assert read.to_custom_config() == written
    for field in dataclasses.fields(kind):
        if field.name != "evaluation":
            assert getattr(read, field.name) == getattr(settings, field.name), field.name


@BOTH
def test_thresholds_are_not_part_of_them(config, kind):
    evaluation = config.evaluation.model_copy(update={"at_k": [3], "thresholds": {"gauc": Threshold(min=0.9)}})
    other = config.model_copy(update={"evaluation": evaluation})
    assert kind.of(other, "digest").to_custom_config() == kind.of(config, "digest").to_custom_config()


@BOTH
def test_a_module_of_another_model_trains_nothing_again(config, kind):
    with_module = config.model.model_copy(update={"module": "two_tower", "module_folder": ROOT / "examples/own_model"})
    other = config.model_copy(update={"model": with_module})
    assert kind.of(other, "digest").to_custom_config() == kind.of(config, "digest").to_custom_config()


@BOTH
def test_a_model_of_ones_own_is_trained_with_its_module(kind, monkeypatch):
    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))
    monkeypatch.setattr(sys, "path", list(sys.path))
    config = load_config(ROOT / "examples" / "own_model" / "config.yaml")
    model = kind.from_custom_config(kind.of(config, "digest").to_custom_config()).model
    assert (model.module, model.module_folder) == ("two_tower", ROOT / "examples" / "own_model")
    del sys.modules["two_tower"]


@BOTH
def test_a_setting_that_is_absent_is_named(config, kind):
    written = kind.of(config, "digest").to_custom_config()
    del written["model"]
    with pytest.raises(KeyError, match="model"):
        kind.from_custom_config(written)


def test_what_they_take_of_the_configuration(config):
    training = TrainingSettings.of(config, "digest")
    assert (training.name, training.code, training.explain) == ("demo", "digest", True)
    assert training.state_root == str(config.output / "training_state")
    assert training.warmup_candidates == config.serving.warmup_candidates
    assert training.ingestion.data.items == config.data.items
    search = SearchSettings.of(config, "digest")
    assert (search.max_history, search.trials_folder) == (7, str(config.output / "tune" / "trials"))
    assert search.tuning == config.tuning


def test_best_values_of_a_search_replace_those_of_the_configuration(config):
    settings = TrainingSettings.of(config, "digest")
    tuned = settings.tuned({"params.id_dim": 8, "training.epochs": 3})
    assert (tuned.model.params, tuned.training.epochs) == ({"id_dim": 8}, 3)
    assert tuned.training.batch_size == settings.training.batch_size
    assert settings.model.params == {}
    with pytest.raises(ValueError, match="epochs"):
        settings.tuned({"training.epochs": 0})


def test_folders_of_further_inputs_reach_the_user_function(config):
    key = standard_component_specs.CUSTOM_CONFIG_KEY
    properties = {key: json_utils.dumps(TrainingSettings.of(config, "digest").to_custom_config()), "train_args": "{}"}
    artifacts = {}
    for name in (CONTENT, REQUESTS, REPORT):
        artifact = standard_artifacts.Examples()
        artifact.uri = f"/artifacts/{name}/1"
        artifacts[name] = [artifact]
    given = with_uris(properties, artifacts, (CONTENT, REPORT))
    assert given["train_args"] == "{}"
    custom_config = json_utils.loads(given[key])
    assert uri_of(custom_config, CONTENT) == "/artifacts/content/1"
    assert custom_config["report_uri"] == uri_of(custom_config, REPORT) == "/artifacts/report/1"
    assert "requests_uri" not in custom_config
    assert TrainingSettings.from_custom_config(custom_config).name == "demo"
    assert "content_uri" not in json_utils.loads(properties[key])
