"""The configuration in the repository's root is the documented default: it must load, and it must be complete."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from tfx_pipeline.config import PipelineConfig, load_config
from tfx_pipeline.data.content.build import build_content, check_content_sources
from tfx_pipeline.data.logs.checks import check_sources

ROOT = Path(__file__).resolve().parents[4]
FILE = ROOT / "pipeline_config.yaml"


@pytest.fixture
def config(demo_directory) -> PipelineConfig:
    data = {
        "data.interactions.path": "interactions.parquet",
        "data.items.path": "items.csv",
        "data.users.path": "users.jsonl",
        "content.modalities.text.path": "text_embeddings.parquet",
        "content.modalities.image.path": "image_embeddings.npz",
    }
    assert all(f"runs/demo/data/{name}" in FILE.read_text() for name in data.values())
    return load_config(FILE, [f"{key}={demo_directory / name}" for key, name in data.items()])


def test_paths_lie_in_the_demo_folder():
    config = load_config(FILE)
    assert config.output == ROOT / "runs/demo"
    tables = [config.data.interactions, config.data.items, config.data.users, *config.content.modalities.values()]
    assert {table.path.parent for table in tables} == {ROOT / "runs/demo/data"}


def test_the_demos_files_are_what_it_says(config):
    check_sources(config)
    check_content_sources(config)
    table = build_content(config.data.items, config.content)
    assert len(table.item_ids) == 1_000
    text, image = table.modalities["text"], table.modalities["image"]
    assert (text.width, text.source_width, image.width) == (32, 48, 32)
    assert text.explained_variance > 0.8
    assert text.coverage.unknown_ids > 0
    assert image.coverage.zero_vectors > 0
    assert table.titles is not None


def keys(annotation: Any) -> set[str]:
    """Names of all fields of the sections that a type is made of, and of the sections within them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = annotation.model_fields
        return set(fields).union(*(keys(field.annotation) for field in fields.values()))
    return set().union(*map(keys, get_args(annotation)))


def test_every_key_is_in_the_file():
    text, wanted = FILE.read_text(), keys(PipelineConfig)
    assert {"oov_buckets", "scaling", "min_change", "push_dir"} <= wanted
    assert [key for key in sorted(wanted) if f"{key}:" not in text] == []
