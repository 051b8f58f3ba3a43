"""What the key of a trial knows of code: all that its result depends on, and no more."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tfx_pipeline.config import load_config
from tfx_pipeline.files import source_digests
from tfx_pipeline.studies.preparation import data_digest

ROOT = Path(__file__).resolve().parents[3]
OUTCOME, FINISHED = ("outcome",), ("finished",)


@pytest.fixture
def sources(tmp_path, monkeypatch) -> Path:
    """A copy of the sources that digests are taken of."""
    for folder in ("dmf_keras", "serving", "tfx_pipeline"):
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


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        ("tfx_pipeline/evaluation/candidate_table.py", {(), OUTCOME, FINISHED}),
        ("tfx_pipeline/training/trainer.py", {(), OUTCOME, FINISHED}),
        ("tfx_pipeline/data/examples/history.py", {(), OUTCOME, FINISHED}),
        # A comparison computes metrics of the rows that it kept; a search keeps the metrics.
        ("tfx_pipeline/evaluation/metrics.py", {OUTCOME}),
        ("tfx_pipeline/training/search/outcome.py", {OUTCOME}),
        ("tfx_pipeline/studies/compare/finished.py", {FINISHED}),
        ("tfx_pipeline/studies/compare/report.py", set()),
        ("tfx_pipeline/evaluation/results.py", set()),
        ("tfx_pipeline/training/search/report.py", set()),
    ],
)
def test_changed_code(config, sources, file, changed):
    before = {code: data_digest(config, code) for code in ((), OUTCOME, FINISHED)}
    assert len(set(before.values())) == 3
    assert {code: data_digest(config, code) for code in before} == before
    with (sources / file).open("a") as source:
        source.write("# changed\n")
    assert {code for code in before if data_digest(config, code) != before[code]} == changed
