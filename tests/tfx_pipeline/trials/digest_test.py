"""What the key of a trial knows of code: all that its result depends on, and no more."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tfx_pipeline import fingerprints
from tfx_pipeline.config import load_config
from tfx_pipeline.trials.data import data_digest

ROOT = Path(__file__).resolve().parents[3]
OUTCOME = ("outcome",)


@pytest.fixture
def sources(tmp_path, monkeypatch) -> Path:
    """A copy of the sources that digests are taken of."""
    for folder in ("dmf_keras", "serving", "tfx_pipeline"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(fingerprints, "_ROOT", tmp_path)
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
    ("file", "rows_change", "outcome_changes"),
    [
        ("tfx_pipeline/trials/rows.py", True, True),
        ("tfx_pipeline/training/trainer.py", True, True),
        ("tfx_pipeline/examples/history.py", True, True),
        # A comparison computes metrics of the rows that it kept; a search keeps the metrics.
        ("tfx_pipeline/evaluation/metrics.py", False, True),
        ("tfx_pipeline/tuning/outcome.py", False, True),
        ("tfx_pipeline/evaluation/results.py", False, False),
        ("tfx_pipeline/tuning/report.py", False, False),
    ],
)
def test_changed_code(config, sources, file, rows_change, outcome_changes):
    rows, outcome = data_digest(config), data_digest(config, OUTCOME)
    assert rows != outcome
    assert (data_digest(config), data_digest(config, OUTCOME)) == (rows, outcome)
    with (sources / file).open("a") as code:
        code.write("# changed\n")
    assert (data_digest(config) != rows) == rows_change
    assert (data_digest(config, OUTCOME) != outcome) == outcome_changes
