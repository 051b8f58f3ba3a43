"""Which sources are part of which step's cache key: what the step executes, and nothing that it does not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from dmf_keras.models.registry import model_class, model_names
from tfx_pipeline.config import load_config
from tfx_pipeline.files import source_digests
from tfx_pipeline.files.source_digests import import_closure
from tfx_pipeline.runners import cache_keys

ROOT = Path(__file__).resolve().parents[3]
STEPS = list(cache_keys._CODE)
PIPELINE_STEPS = (
    *("ingest", "encode", "content", "fine_tune", "validate", "transform", "train", "refit"),
    *("evaluate", "gate", "push", "tune"),
)


def _relative(files: Iterable[Path], root: Path = ROOT) -> set[str]:
    return {file.relative_to(root).as_posix() for file in files}


def _registration(model: str) -> str:
    """The file in which a model's package registers it."""
    return model_class(model).rpartition(".")[0].replace(".", "/") + "/__init__.py"


def _closure(step: str) -> set[str]:
    entry = cache_keys._CODE[step]
    return _relative(import_closure(entry.modules, (*cache_keys._NEVER, *entry.ignore)))


@pytest.mark.parametrize(
    ("step", "files"),
    [
        (
            "ingest",
            [
                "tfx_pipeline/components/behavior_log_example_gen/steps.py",
                "tfx_pipeline/config/ingestion.py",
                "tfx_pipeline/data/examples/audit.py",
                "tfx_pipeline/data/logs/cleaning.py",
            ],
        ),
        (
            "encode",
            [
                "dmf_keras/layers/bag_tower.py",
                "tfx_pipeline/data/encoding/onnx_image.py",
                "tfx_pipeline/training/text_tower/learning.py",
            ],
        ),
        ("content", ["tfx_pipeline/data/content/reduction.py", "tfx_pipeline/data/logs/reader.py"]),
        (
            "fine_tune",
            [
                "dmf_keras/layers/info_nce.py",
                "tfx_pipeline/data/content/reduction.py",
                "tfx_pipeline/evaluation/next_click.py",
                "tfx_pipeline/training/content_tuning/positives.py",
            ],
        ),
        ("validate", ["tfx_pipeline/components/example_validator/executor.py"]),
        ("transform", ["tfx_pipeline/transform/preprocessing.py", "tfx_pipeline/transform/transformed_features.py"]),
        (
            "train",
            [
                "dmf_keras/layers/target_attention.py",
                "dmf_keras/metrics/streaming.py",
                "serving/contract.py",
                "tfx_pipeline/evaluation/item_facts.py",
                "tfx_pipeline/evaluation/known_users.py",
                "tfx_pipeline/training/search/values.py",
                "tfx_pipeline/training/settings.py",
                "tfx_pipeline/training/trainer.py",
                "tfx_pipeline/transform/request_transform.py",
            ],
        ),
        ("refit", ["tfx_pipeline/training/refit_fn.py", "tfx_pipeline/training/trainer.py"]),
        ("evaluate", ["dmf_keras/metrics/auc_by_group.py", "tfx_pipeline/evaluation/slices.py"]),
        ("gate", ["serving/contract.py", "serving/messages.py"]),
        ("push", ["serving/contract.py", "tfx_pipeline/evaluation/results.py"]),
        ("trial", ["tfx_pipeline/evaluation/candidate_table.py", "tfx_pipeline/training/trainer.py"]),
        ("finished", ["tfx_pipeline/studies/compare/finished.py", "tfx_pipeline/training/trainer.py"]),
        (
            "retrieved",
            [
                "tfx_pipeline/evaluation/retrieval/tower_retriever.py",
                "tfx_pipeline/training/retrieval/task.py",
                "tfx_pipeline/training/retrieval/training.py",
            ],
        ),
        ("outcome", ["dmf_keras/metrics/auc_by_group.py", "tfx_pipeline/training/search/outcome.py"]),
        ("tune", ["tfx_pipeline/training/search/oracle.py", "tfx_pipeline/training/search/settings.py"]),
    ],
)
def test_what_a_step_executes_is_part_of_its_key(step, files):
    assert set(files) - _closure(step) == set()


@pytest.mark.parametrize("step", STEPS)
def test_what_no_step_executes_is_part_of_no_key(step):
    others = (
        "dmf_keras/testing",
        "serving/client",
        "serving/testing",
        "serving/local_server",
        "serving/load",
        "serving/deploy",
    )
    others += tuple(f"tfx_pipeline/{room}" for room in ("cli", "pages/", "trained/", "runners/", "pipeline.py"))
    # Which of the registry's models is trained, the configuration says: its code is added by the model's name.
    others += tuple(sorted({model_class(name).partition(":")[0].replace(".", "/") for name in model_names()}))
    assert [file for file in sorted(_closure(step)) if file.startswith(others)] == []
    studies = {file for file in _closure(step) if file.startswith("tfx_pipeline/studies/")}
    # With the table of machines in which a comparison says where a training ran.
    of_training = {
        "tfx_pipeline/studies/bench/machine.py",
        "tfx_pipeline/studies/compare/finished.py",
        "tfx_pipeline/studies/compare/training_facts.py",
    }
    of_retrieval = {
        "tfx_pipeline/studies/retrieval/compare/finished.py",
        "tfx_pipeline/studies/retrieval/contenders.py",
        "tfx_pipeline/studies/retrieval/saved_model.py",
    }
    expected = {"finished": of_training, "retrieved": of_training | of_retrieval}.get(step, set())
    assert {file for file in studies if not file.endswith("__init__.py")} == expected


@pytest.mark.parametrize("step", PIPELINE_STEPS)
def test_reading_the_configuration_and_wording_of_errors_are_part_of_no_key(step):
    sections = {"tfx_pipeline/config/__init__.py", "tfx_pipeline/config/ingestion.py"}
    found = {file for file in _closure(step) if file.startswith(("tfx_pipeline/config", "tfx_pipeline/errors"))}
    assert found == (sections if step == "ingest" else set())


def test_rows_of_trials_are_kept_and_their_metrics_computed_anew():
    for step in ("trial", "finished"):
        assert {file for file in _closure(step) if "metrics" in file or file.endswith("evaluation/slices.py")} == set()
    assert {"tfx_pipeline/evaluation/metrics.py", "tfx_pipeline/evaluation/slices.py"} <= _closure("outcome")


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    """By step, the project's files that are loaded after its entry modules in a process of its own.

    The libraries are imported once, and each step in a fork of that process: what takes seconds is shared. `model` is
    that of the default model.
    """
    entries = {step: list(entry.modules) for step, entry in cache_keys._CODE.items()}
    entries["model"] = [model_class("dmf").partition(":")[0]]
    program = f"""
import importlib, json, os, sys
import tensorflow, keras, tensorflow_transform, tensorflow_model_analysis, apache_beam, pandas
import tfx.components

def own():
    names = [name for name in sys.modules if name.partition(".")[0] in {source_digests.PACKAGES!r}]
    return sorted(filter(None, (sys.modules[name].__file__ for name in names)))

assert own() == []
for step, modules in {entries!r}.items():
    if child := os.fork():
        assert os.waitpid(child, 0)[1] == 0, step
        continue
    for module in modules:
        importlib.import_module(module)
    print("loaded:" + json.dumps([step, own()]), flush=True)
    os._exit(0)
"""
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert result.returncode == 0, result.stderr
    lines = [line.removeprefix("loaded:") for line in result.stdout.splitlines() if line.startswith("loaded:")]
    return {step: _relative(map(Path, files)) for step, files in map(json.loads, lines)}


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_every_module_that_is_really_loaded_was_seen_in_the_sources(loaded, step):
    """What `ast` cannot see: imports by name. Modules may be loaded only by what the step's key leaves out.

    By name `dmf_keras.models` has each model registered; the code of a training has that of its own model.
    """
    assert len(loaded[step]) > 2
    unseen = loaded[step] - _relative(import_closure(cache_keys._CODE[step].modules))
    assert unseen - set(map(_registration, model_names())) == set()


@pytest.mark.slow
def test_what_a_model_loads_was_seen_in_the_sources_with_its_registration(loaded):
    unseen = loaded["model"] - _relative(import_closure([model_class("dmf").partition(":")[0]]))
    assert len(loaded["model"]) > 10
    assert unseen <= {_registration(name) for name in model_names()} - {_registration("dmf")}


@pytest.fixture
def sources(tmp_path, monkeypatch) -> Path:
    """A copy of the sources that digests are taken of."""
    for folder in source_digests.PACKAGES:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(source_digests, "ROOT", tmp_path)
    return tmp_path


@pytest.fixture
def config(tmp_path):
    """The documented default, whose input files are there."""
    data = tmp_path / "data"
    data.mkdir()
    text = (ROOT / "pipeline_config.yaml").read_text(encoding="utf-8").replace("runs/demo/data", str(data))
    for name in ("interactions.parquet", "items.csv", "users.jsonl", "text_embeddings.parquet", "image_embeddings.npz"):
        (data / name).touch()
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    return load_config(file)


def _change(sources: Path, file: str) -> None:
    with (sources / file).open("a") as source:
        source.write("# changed\n")


def _model_file(name: str) -> str:
    """Of the class of a registered model."""
    module = model_class(name).partition(":")[0]
    (file,) = (file for file in import_closure([module]) if module.replace(".", "/") in file.as_posix())
    return file.relative_to(source_digests.ROOT).as_posix()


def _changed_steps(config, sources: Path, file: str) -> set[str]:
    before = cache_keys.fingerprints(config).code
    _change(sources, file)
    after = cache_keys.fingerprints(config).code
    return {step for step in before if before[step] != after[step]}


def test_code_of_the_configurations_model_trains_again_and_that_of_another_does_not(config, sources):
    assert _changed_steps(config, sources, _model_file("din")) == set()
    assert _changed_steps(config, sources, _model_file("dmf")) == {"train", "refit"}
    assert _changed_steps(config, sources, _model_file("two_towers")) == {"retrieve"}


@pytest.mark.parametrize(
    ("file", "steps"),
    [
        ("dmf_keras/metrics/auc_by_group.py", {"train", "refit", "retrieve", "evaluate", "outcome", "tune"}),
        ("serving/messages.py", {"ingest", "encode", "content", "fine_tune", "gate", "outcome", "tune", "retrieved"}),
        ("tfx_pipeline/components/ranking_trainer/executor.py", {"train", "refit", "retrieve"}),
        ("tfx_pipeline/components/ranking_tuner/executor.py", {"tune"}),
        ("tfx_pipeline/training/search/settings.py", {"tune"}),
        ("tfx_pipeline/transform/preprocessing.py", {"transform"}),
        ("tfx_pipeline/pipeline.py", set()),
        ("tfx_pipeline/errors.py", set()),
        ("tfx_pipeline/config/schema.py", set()),
    ],
)
def test_a_changed_file_runs_exactly_the_steps_again_that_execute_it(config, sources, file, steps):
    assert _changed_steps(config, sources, file) == steps
