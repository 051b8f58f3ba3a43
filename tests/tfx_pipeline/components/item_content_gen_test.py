from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.components.artifacts import ItemContent
from tfx_pipeline.components.item_content_gen.component import ItemContentGen
from tfx_pipeline.components.item_content_gen.executor import Executor
from tfx_pipeline.config import load_config
from tfx_pipeline.data.content.build import check_content_sources
from tfx_pipeline.data.content.table import read_content
from tfx_pipeline.errors import DataError

CONFIG = """
name: test
output: out
data:
  interactions: {path: absent.parquet}
  items: {path: items.csv, title_column: title}
split: {fractions: {}}
content:
  modalities:
    text: {path: text.parquet, dim: 2}
    image: {path: image.npz, width: 4, dtype: float32}
"""


@pytest.fixture
def config_file(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "items.csv").write_text("item_id,title\na,Tent\nb,Kite\nc,Rug\n")
    text = pa.table({"item_id": ["c", "a", "b"], "embedding": rng.standard_normal((3, 5)).tolist()})
    pq.write_table(text, tmp_path / "text.parquet")
    np.savez(tmp_path / "image.npz", item_id=["a", "b"], embedding=rng.standard_normal((2, 4)))
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path / "config.yaml"


def execute(component: ItemContentGen, directory) -> ItemContent:
    artifact = ItemContent()
    artifact.uri = str(directory)
    Executor().Do({}, {"content": [artifact]}, component.spec.exec_properties)
    return artifact


def test_output_type(config_file):
    component = ItemContentGen(load_config(config_file), "files", "code")
    assert component.outputs["content"].type is ItemContent
    assert list(component.inputs) == []


def test_parameters_change_with_what_the_table_depends_on_and_with_nothing_else(config_file):
    def parameters(*overrides, files="files", code="code"):
        return ItemContentGen(load_config(config_file, overrides), files, code).spec.exec_properties

    assert parameters() == parameters("training.epochs=9", "data.interactions.time_unit=ms", "history.max_length=3")
    changed = [
        parameters("content.modalities.text.dim=3"),
        parameters("data.items.title_column=null"),
        parameters(files="others"),
        parameters(code="newer"),
    ]
    assert all(other != parameters() for other in changed)


def test_executor_writes_the_table(config_file, tmp_path):
    config = load_config(config_file)
    check_content_sources(config)
    # TFX makes an artifact's directory before the executor runs.
    (tmp_path / "artifact").mkdir()
    artifact = execute(ItemContentGen(config, "files", "code"), tmp_path / "artifact")
    table = read_content(artifact.uri)
    assert table.item_ids == ["a", "b", "c"]
    assert table.titles == ["Tent", "Kite", "Rug"]
    assert {name: matrix.vectors.shape for name, matrix in table.modalities.items()} == {
        "text": (3, 2),
        "image": (3, 4),
    }
    assert table.modalities["image"].present.tolist() == [True, True, False]
    assert artifact.get_string_custom_property("version") == table.version
    coverage = json.loads((tmp_path / "artifact/content.json").read_text())["modalities"]["image"]["coverage"]
    counts = {"items": 3, "present": 2, "missing": 1, "zero_vectors": 0, "unknown_ids": 0}
    assert coverage == {**counts, "zero_vector_items": []}


def test_executor_refuses_and_leaves_nothing(config_file, tmp_path):
    component = ItemContentGen(load_config(config_file), "files", "code")
    np.savez(tmp_path / "image.npz", item_id=["a", "b"], embedding=np.array([[1, 2, 3, 4], [1, np.nan, 3, 4]]))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match=r"content\.modalities\.image: item 'b'"):
        execute(component, tmp_path / "artifact")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.items.path=none.csv", r"data\.items.*none\.csv"),
        ("data.items.title_column=name", "no column 'name'"),
        ("content.modalities.text.path=none.parquet", r"content\.modalities\.text\.path.*none\.parquet"),
        ("content.modalities.text.dim=6", "cannot reduce 5 wide embeddings to 6"),
        ("content.modalities.image.width=5", "expects 5"),
        ("content.modalities.image.embedding_column=vectors", "no array 'vectors'; it has: item_id, embedding"),
    ],
)
def test_check_before_the_run(config_file, override, message):
    with pytest.raises(DataError, match=message):
        check_content_sources(load_config(config_file, [override]))
