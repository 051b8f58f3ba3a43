"""Encoders that a run of the pipeline runs: what they make is read in the same run, and what changed runs again."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.config import load_config
from tfx_pipeline.config.encoders import in_pipeline
from tfx_pipeline.config.encoding import EncodingConfig
from tfx_pipeline.data.content.build import check_content_sources
from tfx_pipeline.data.content.table import read_content
from tfx_pipeline.data.encoding.sources import encoder_sources
from tfx_pipeline.errors import ConfigError, DataError
from tfx_pipeline.files import artifact_files

_OWN = "{kind: keras, columns: [title], width: 6, buckets: 50, dim: 4, hidden: 4, epochs: 1, in_pipeline: true}"
TITLES = {f"i{row}": f"w{row % 5} w{row % 7} w{row}" for row in range(20)}


def _write_items(folder: Path, titles: dict[str, str]) -> None:
    table = pa.table({"item_id": list(titles), "title": list(titles.values()), "poster": [f"{i}.png" for i in titles]})
    pq.write_table(table, folder / "items.parquet")


@pytest.fixture
def folder(tmp_path) -> Path:
    """A log of five users and a catalogue; no file of vectors."""
    _write_items(tmp_path, TITLES)
    rng = np.random.default_rng(1)
    log = {
        "user_id": [f"u{row % 5}" for row in range(100)],
        "item_id": [f"i{row}" for row in rng.integers(0, 20, 100)],
        "timestamp": [1_700_000_000 + 60 * row for row in range(100)],
        "label": rng.integers(0, 2, 100),
    }
    pq.write_table(pa.table(log), tmp_path / "log.parquet")
    (tmp_path / "shop.yaml").write_text(
        """
name: shop
output: out
data:
  interactions: {path: log.parquet}
  items: {path: items.parquet}
split: {fractions: {train: 0.8, eval: 0.1, test: 0.1}}
content: {modalities: {own: {path: vectors/own.parquet}, other: {path: vectors/other.parquet}}}
encoders:
  other: {kind: keras, columns: [title], against: own, width: 4, buckets: 50, dim: 4, hidden: 4, epochs: 1,
          batch_size: 8, in_pipeline: true}
  own: {kind: keras, columns: [title], width: 6, buckets: 50, dim: 4, hidden: 4, epochs: 1, batch_size: 8,
        in_pipeline: true}
""",
        encoding="utf-8",
    )
    return tmp_path


@pytest.mark.slow
def test_a_run_encodes_what_is_new_and_builds_the_table_of_it(folder, capfd):
    from tfx_pipeline.runners.local import check_inputs, run_pipeline

    def run():
        config = load_config(folder / "shop.yaml")
        check_inputs(config)
        steps = {step.node: step for step in run_pipeline(config, until="ItemContentGen")}
        made = (config.output / "artifacts/ItemContentGen/content").glob("[0-9]*")
        newest = max(made, key=lambda path: int(path.name))
        return steps, read_content(str(newest))

    steps, table = run()
    assert [steps[name].state for name in ("ContentEncoder", "ItemContentGen")] == ["ran", "ran"]
    assert {name: matrix.width for name, matrix in table.modalities.items()} == {"own": 6, "other": 4}
    assert table.covered.all()
    said = capfd.readouterr().err
    # That which is learned against the other comes after it.
    assert said.index("own: 20 items, 6 wide: 20 texts encoded") < said.index("other: 20 items, 4 wide")
    steps, _ = run()
    assert [steps[name].state for name in ("ContentEncoder", "ItemContentGen")] == ["cached", "cached"]
    before = pq.read_table(folder / "vectors/own.parquet").to_pylist()
    _write_items(folder, {**TITLES, "new": "w1 w2 w3"})
    steps, table = run()
    assert [steps[name].state for name in ("ContentEncoder", "ItemContentGen")] == ["ran", "ran"]
    assert len(table.item_ids) == 21 and table.covered.all()
    assert "own: 21 items, 6 wide: 1 texts encoded" in capfd.readouterr().err
    assert pq.read_table(folder / "vectors/own.parquet").to_pylist()[:20] == before
    (first, second) = sorted((folder / "out").rglob(artifact_files.ENCODING), key=lambda path: int(path.parent.name))
    for file, encoded in ((first, 20), (second, 1)):
        assert [entry["encoded"] for entry in json.loads(file.read_text())["encoders"]] == [encoded, encoded]


@pytest.mark.slow
def test_the_table_is_built_of_what_the_step_made_whatever_became_of_the_file(folder):
    from tfx_pipeline.runners.local import run_pipeline

    def table(*settings: str):
        config = load_config(folder / "shop.yaml", ["encoders={}", f"encoders.own={_OWN}", *settings])
        steps = {step.node: step.state for step in run_pipeline(config, until="ItemContentGen")}
        made = (config.output / "artifacts/ItemContentGen/content").glob("[0-9]*")
        return steps["ContentEncoder"], read_content(str(max(made, key=lambda path: int(path.name))))

    given = {"item_id": list(TITLES), "embedding": [[1.0, 0.0]] * len(TITLES)}
    (folder / "vectors").mkdir()
    pq.write_table(pa.table(given), folder / "vectors/other.parquet")
    one = "encoders.own.seed=1"
    _, first = table(one)
    _, second = table("encoders.own.seed=2")
    assert not np.allclose(first.modalities["own"].vectors, second.modalities["own"].vectors, atol=1e-2)
    # As before, but reduced: from the cache, while the file has the vectors of the other encoder.
    state, reduced = table(one, "content.modalities.own.dim=5")
    assert state == "cached"
    whole = first.modalities["own"].vectors.astype(np.float32)
    basis = reduced.modalities["own"].basis
    expected = whole @ basis
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(reduced.modalities["own"].vectors.astype(np.float32), expected, atol=2e-2)
    (folder / "vectors/own.parquet").unlink()
    state, _ = table(one, "content.modalities.own.dim=4")
    assert state == "cached"


def test_a_training_is_of_the_vectors_that_its_encoder_makes(folder):
    from tfx_pipeline.studies.preparation import data_digest

    def digest(*settings: str) -> str:
        return data_digest(load_config(folder / "shop.yaml", settings))

    before = digest()
    assert digest("training.epochs=9") == before
    assert len({before, digest("encoders.own.epochs=5"), digest("encoders.other.seed=3")}) == 3
    os.utime(folder / "items.parquet", (1, 1))
    assert digest() != before


def test_files_that_the_run_makes_need_not_be_there_before_it(folder):
    check_content_sources(load_config(folder / "shop.yaml"))
    with pytest.raises(DataError, match=r"modalities\.own\.path: there is no file .*`dmf encode`"):
        check_content_sources(load_config(folder / "shop.yaml", ["encoders.own.in_pipeline=false"]))


def test_the_step_is_there_where_an_encoder_asks_for_it(folder):
    from tfx_pipeline.pipeline import create_pipeline
    from tfx_pipeline.runners.cache_keys import fingerprints

    config = load_config(folder / "shop.yaml")
    steps = [node.id for node in create_pipeline(config, fingerprints(config)).components]
    assert steps[:3] == ["BehaviorLogExampleGen", "ContentEncoder", "ItemContentGen"]
    (folder / "vectors").mkdir()
    for name in ("own", "other"):
        (folder / f"vectors/{name}.parquet").touch()
    without = load_config(folder / "shop.yaml", [f"encoders.{name}.in_pipeline=false" for name in ("own", "other")])
    steps = [node.id for node in create_pipeline(without, fingerprints(without)).components]
    assert steps[:2] == ["BehaviorLogExampleGen", "ItemContentGen"]
    assert fingerprints(without).encoding == ""


def test_what_encoders_read_decides_whether_they_run(folder, tmp_path):
    config = load_config(
        folder / "shop.yaml",
        [
            "encoders.own={kind: text, model: model.onnx, tokenizer: tokenizer.json, columns: [title]}",
            "encoders.own.in_pipeline=true",
            "encoders.other={kind: image, model: image.onnx, column: poster, folder: posters, in_pipeline: true}",
        ],
    )
    for name in ("model.onnx", "tokenizer.json", "image.onnx"):
        (folder / name).write_text(name)
    (folder / "posters").mkdir()
    (folder / "posters/i3.png").write_text("a picture")

    def digest() -> str:
        return encoder_sources(EncodingConfig.of(config, in_pipeline(config.encoders)))

    seen = [digest()]
    assert digest() == seen[0]
    changes = (
        lambda: (folder / "model.onnx").write_text("another model"),
        lambda: (folder / "model.onnx_data").write_text("its weights"),
        lambda: (folder / "tokenizer.json").write_text("another tokenizer"),
        lambda: (folder / "posters/i3.png").write_text("another picture"),
        lambda: (folder / "posters/i4.png").write_text("one more picture"),
        lambda: (folder / "posters/i3.png").unlink(),
        lambda: os.utime(folder / "items.parquet", (1, 1)),
    )
    for change in changes:
        change()
        seen.append(digest())
    assert len(set(seen)) == len(seen)
    # A picture of no item.
    (folder / "posters/nobody.png").write_text("x")
    assert digest() == seen[-1]
    (folder / "image.onnx").unlink()
    with pytest.raises(DataError, match=r"image\.onnx"):
        digest()


def test_only_what_decides_the_vectors_is_a_parameter_of_the_step(folder):
    def sections(*settings: str) -> str:
        config = load_config(folder / "shop.yaml", settings)
        return EncodingConfig.of(config, in_pipeline(config.encoders)).model_dump_json()

    assert sections() == sections("content.modalities.own.dim=2", "training.epochs=9", "data.items.title_column=title")
    assert sections() != sections("encoders.own.epochs=2")
    assert json.loads(sections("encoders.other.in_pipeline=false"))["modalities"].keys() == {"own"}


def test_a_cluster_refuses_what_needs_a_disk(folder):
    from tfx_pipeline.runners.kubeflow.compile import compile_for

    config = load_config(
        folder / "shop.yaml", ["kubeflow={image: 'registry/shop:1', pipeline_root: 's3://bucket/runs'}"]
    )
    with pytest.raises(ConfigError, match=r"encoders\.own\.in_pipeline: .*run `dmf encode`"):
        compile_for(config, "kubeflow")


def test_a_damaged_file_of_vectors_is_told_by_its_checksums(folder):
    from tfx_pipeline.training.content_encoding import encode_modality

    config = load_config(folder / "shop.yaml")
    encode_modality(EncodingConfig.of(config), "own", lambda text: None)
    file = folder / "vectors/own.parquet"
    content = bytearray(file.read_bytes())
    vectors = pq.ParquetFile(file).metadata.row_group(0).column(1)
    # In the middle of the vectors' last page: still numbers, of which nobody would know.
    place = vectors.data_page_offset + vectors.total_compressed_size - 20
    content[place] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"own\.parquet cannot be read: .*CRC.*remove it"):
        encode_modality(EncodingConfig.of(config), "own", lambda text: None)
    from tfx_pipeline.data.content.build import build_content

    with pytest.raises(DataError, match=r"own\.parquet"):
        build_content(config.data.items, config.content)
