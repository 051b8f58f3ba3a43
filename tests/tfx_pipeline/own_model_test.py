"""examples/own_model: the model keeps the contract, the docs show its files, its code is part of the cache's key."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dmf_keras.models import build_model, registry
from tests.dmf_keras.models.batches import ITEMS, SCHEMA, requests
from tfx_pipeline.config import PipelineConfig, load_config

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "own_model"


@pytest.fixture(autouse=True)
def _nothing_leaks(monkeypatch):
    """The example's registration, modules and search path are gone after each test."""
    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    _forget_modules()


def _forget_modules() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in ("two_tower", "lone_tower")]:
        del sys.modules[name]


@pytest.fixture
def model():
    """The example's model on the tests' schema, with content."""
    import keras

    load_config(EXAMPLE / "config.yaml")
    built = build_model("two_tower", {"dim": 6}, SCHEMA, seed=1)
    rng = np.random.default_rng(1)
    for layer in built.content.values():
        layer.set_rows(rng.normal(size=(ITEMS, layer.dim)))
    built.biases.set_weights([rng.normal(size=(ITEMS, 1))])
    yield built
    keras.saving.get_custom_objects().pop("own_model>TwoTower")


def test_scores_are_those_of_the_equation(model):
    batch = requests(batch=3, candidates=4, history=5)
    items, biases, users = (layer.get_weights()[0] for layer in (model.items, model.biases, model.users))
    weights, constant = model.mix.get_weights()
    tables = {name: np.array(layer.table, np.float32) for name, layer in model.content.items()}
    logits = np.array(model(batch))
    for row in range(3):
        seen = batch["history_index"][row][batch["history_index"][row] > 0]
        user = users[batch["user_index"][row]] + (items[seen].mean(0) if len(seen) else 0)
        rows = batch["history_content_row"][row]
        rows = rows[rows > 0]
        for position in range(4):
            item, content = batch["candidate_index"][row, position], batch["candidate_content_row"][row, position]
            cosines = [(table[rows] @ table[content]).mean() if len(rows) else 0 for table in tables.values()]
            expected = user @ items[item] + biases[item, 0] + np.dot(cosines, weights[:, 0]) + constant[0]
            assert logits[row, position] == pytest.approx(expected, abs=1e-5)


def test_padding_changes_nothing(model):
    batch = requests(batch=3, candidates=4, history=5)
    padded = {name: np.pad(value, ((0, 0), (0, 3))) if value.ndim == 2 else value for name, value in batch.items()}
    np.testing.assert_allclose(np.array(model(padded))[:, :4], np.array(model(batch)), atol=1e-6)


def test_it_is_saved_and_loaded_by_its_registered_name(model, tmp_path):
    import keras

    batch = requests(batch=2, candidates=3, history=4)
    expected = np.array(model(batch))
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.array(keras.models.load_model(tmp_path / "model.keras")(batch)), expected)


def test_the_docs_show_the_files_as_they_are():
    text = (ROOT / "docs" / "MODELS.md").read_text(encoding="utf-8")
    shown = re.findall(r"```(?:python|yaml)\n(.*?)```", text, re.DOTALL)
    for file in ("two_tower/__init__.py", "two_tower/model.py"):
        assert (EXAMPLE / file).read_text(encoding="utf-8") in shown, f"docs/MODELS.md does not show {file}"
    config = (EXAMPLE / "config.yaml").read_text(encoding="utf-8")
    assert re.search(r"^model:\n(?:  .*\n)+", config, re.MULTILINE)[0] in shown


def test_every_registered_model_is_in_the_docs():
    headings = re.findall(r"^### `(\w+)`", (ROOT / "docs" / "MODELS.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(headings) == registry.model_names()


@pytest.fixture
def example(tmp_path) -> Path:
    """A copy of the example, whose input files are there."""
    folder = tmp_path / "repository" / "examples" / "own_model"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    data = tmp_path / "repository" / "runs" / "demo" / "data"
    data.mkdir(parents=True)
    for name in ("interactions.parquet", "items.csv", "text_embeddings.parquet", "image_embeddings.npz"):
        (data / name).touch()
    return folder


def _steps(config_file: Path) -> dict[str, dict]:
    """Execution properties of every step of the pipeline, by the step's id."""
    return _steps_of(load_config(config_file))


def _steps_of(config: PipelineConfig) -> dict[str, dict]:
    from tfx_pipeline.pipeline import create_pipeline
    from tfx_pipeline.runners.cache_keys import fingerprints

    return {part.id: part.exec_properties for part in create_pipeline(config, fingerprints(config)).components}


@pytest.mark.parametrize(
    ("file", "text"),
    [("__init__.py", "# changed\n"), ("model.py", "# changed\n"), ("layers/attention.py", "dim = 4\n")],
)
def test_changed_code_of_the_model_trains_again_and_runs_nothing_before_it_again(example, file, text):
    before = _steps(example / "config.yaml")
    assert _steps(example / "config.yaml") == before
    source = example / "two_tower" / file
    source.parent.mkdir(exist_ok=True)
    with source.open("a") as out:
        out.write(text)
    after = _steps(example / "config.yaml")
    assert {step for step in before if before[step] != after[step]} == {"RankingTrainer"}


def test_a_module_for_a_comparison_trains_no_built_in_model_again(example):
    """Neither the pipeline's, nor one of a comparison or a search."""
    from tfx_pipeline.config.schema import Training
    from tfx_pipeline.studies.preparation import data_digest
    from tfx_pipeline.training.trial import Trial

    def keys(config) -> list[str]:
        data = SimpleNamespace(
            digest=data_digest(config), training_data=SimpleNamespace(objectives={}, age_buckets=None)
        )
        return [Trial(name, {}, 1, Training()).key(data) for name in ("dmf", "din")]

    alone = load_config(example / "config.yaml", ["model={name: dmf}"])
    before = _steps_of(alone), keys(alone)
    beside = load_config(example / "config.yaml", ["model={name: dmf, module: two_tower}"])
    assert beside.model.module == "two_tower"
    assert (_steps_of(beside), keys(beside)) == before


def test_where_the_package_lies_and_other_files_beside_it_do_not_count(example, tmp_path):
    from tfx_pipeline.runners.cache_keys import fingerprints

    before = fingerprints(load_config(example / "config.yaml")).code
    (example / "notes.py").write_text("# of something else\n")
    (example / "two_tower" / "notes.md").write_text("of the model\n")
    assert fingerprints(load_config(example / "config.yaml")).code == before
    assert fingerprints(load_config(example / "config.yaml", ["model={}"])).code["train"] != before["train"]

    # As a new process has it.
    _forget_modules()
    sys.path.remove(str(example))
    del registry._MODELS["two_tower"]
    moved = example.rename(example.with_name("elsewhere"))
    assert fingerprints(load_config(moved / "config.yaml")).code == before


def test_of_a_module_without_a_package_its_file_counts(example):
    from tfx_pipeline.runners.cache_keys import fingerprints

    file = (example / "two_tower" / "__init__.py").rename(example / "lone_tower.py")
    config = load_config(example / "config.yaml", ["model.module=lone_tower"])
    before = fingerprints(config).code
    file.write_text(f"{file.read_text()}# changed\n")
    after = fingerprints(config).code
    assert {step for step in before if before[step] != after[step]} == {"train", "refit"}
