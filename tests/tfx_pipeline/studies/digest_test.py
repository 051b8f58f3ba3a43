"""What the key of a trial knows of code: all that its result depends on, and no more."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tfx_pipeline.config import load_config
from tfx_pipeline.files import source_digests
from tfx_pipeline.studies.preparation import data_digest

ROOT = Path(__file__).resolve().parents[3]
OUTCOME, FINISHED = ("outcome",), ("finished",)


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Iterator[Path]:
    """A copy of the sources that digests are taken of."""
    copy = tmp_path_factory.mktemp("sources")
    for folder in ("dmf_keras", "serving", "tfx_pipeline"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source_digests, "ROOT", copy)
        yield copy


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """The documented default, whose input files are there."""
    folder = tmp_path_factory.mktemp("config")
    data = folder / "data"
    data.mkdir()
    text = (ROOT / "pipeline_config.yaml").read_text(encoding="utf-8").replace("runs/demo/data", str(data))
    for name in ("interactions.parquet", "items.csv", "users.jsonl", "text_embeddings.parquet", "image_embeddings.npz"):
        (data / name).touch()
    file = folder / "config.yaml"
    file.write_text(text, encoding="utf-8")
    return load_config(file)


@pytest.fixture(scope="module")
def before(config, sources):
    """Digests of the sources as they are."""
    return _digests(config)


def _digests(config):
    return {code: data_digest(config, code) for code in ((), OUTCOME, FINISHED)}


def test_sources_have_one_digest_for_each_use(config, before):
    assert len(set(before.values())) == 3
    assert _digests(config) == before


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
def test_changed_code(config, sources, before, file, changed):
    whole = (sources / file).read_bytes()
    (sources / file).write_bytes(whole + b"# changed\n")
    try:
        after = _digests(config)
    finally:
        (sources / file).write_bytes(whole)
    assert {code for code in before if after[code] != before[code]} == changed
