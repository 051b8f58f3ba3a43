"""`dmf encode` by an encoder of our own: trained once, taken over afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.tfx_pipeline.training.text_tower.learning_test import texts_of
from tfx_pipeline.cli import main
from tfx_pipeline.config import load_config
from tfx_pipeline.config.encoding import EncodingConfig
from tfx_pipeline.data.content.build import build_content
from tfx_pipeline.errors import ConfigError, DataError
from tfx_pipeline.training.text_tower.encoder import encode_by_tower

WIDTH = 8


def write_items(folder: Path, titles: dict[str, str | None]) -> None:
    columns = {"item_id": list(titles), "title": pa.array(list(titles.values()), pa.string())}
    pq.write_table(pa.table(columns), folder / "items.parquet")


def titles() -> dict[str, str | None]:
    texts, _ = texts_of(60)
    return {f"i{row}": text for row, text in enumerate(texts)} | {
        "none": None,
        "signs": " -- !",
        "long": "a b c d e f g h",
    }


@pytest.fixture
def folder(tmp_path) -> Path:
    write_items(tmp_path, titles())
    (tmp_path / "shop.yaml").write_text(
        f"""
name: shop
output: out
data:
  interactions: {{path: log.parquet, columns: {{user: u, item: i, time: t, label: y}}}}
  items: {{path: items.parquet, id_column: item_id}}
split: {{fractions: {{train: 0.8, eval: 0.1, test: 0.1}}}}
content:
  modalities:
    own: {{path: vectors/own.parquet}}
    given: {{path: given.parquet, dim: 2}}
encoders:
  own: {{kind: keras, columns: [title], width: {WIDTH}, buckets: 500, dim: 8, hidden: 8, epochs: 2, batch_size: 32,
         max_words: 7}}
"""
    )
    return tmp_path


def config_of(folder, *settings):
    return load_config(folder / "shop.yaml", list(settings))


def encoded(folder, *settings):
    return encode_by_tower(EncodingConfig.of(config_of(folder, *settings)), "own", lambda *_: None, lambda *_: None)


def vectors_of(folder) -> dict[str, np.ndarray]:
    table = pq.read_table(folder / "vectors/own.parquet")
    return dict(zip(table["item_id"].to_pylist(), np.array(table["embedding"].to_pylist(), np.float32), strict=True))


def test_it_is_trained_once_and_encodes_what_is_new(folder):
    first = encoded(folder)
    before = vectors_of(folder)
    assert (first.items, first.without_text, first.cut, first.width) == (63, 2, 1, WIDTH)
    assert first.trained
    assert (first.encoded, first.taken_over) == (len(set(filter(None, titles().values()))) - 1, 0)
    np.testing.assert_allclose([np.linalg.norm(vector) for vector in before.values()], 1, atol=1e-5)
    # A new item, one whose text is that of another, and all others.
    write_items(folder, {**titles(), "new": "a1 b2 c3", "same": titles()["i0"]})
    again = encoded(folder)
    after = vectors_of(folder)
    assert (again.encoded, again.taken_over, again.trained) == (1, 62, False)
    assert again.training == first.training
    assert {item: vector.tobytes() for item, vector in before.items()}.items() <= {
        item: vector.tobytes() for item, vector in after.items()
    }.items()
    np.testing.assert_array_equal(after["same"], after["i0"])
    # The tower that was read is the one that was written.
    (folder / "vectors/own.parquet").unlink()
    third = encoded(folder)
    assert (third.encoded, third.trained) == (again.encoded + first.encoded, False)
    for item, vector in vectors_of(folder).items():
        np.testing.assert_allclose(vector, after[item], atol=1e-6)
    # What a modality reads has missing content where there is no text.
    config = config_of(folder)
    content = config.content.model_copy(update={"modalities": {"own": config.content.modalities["own"]}})
    present = build_content(config.data.items, content).modalities["own"].present
    assert present.tolist() == [item in after for item in [*titles(), "new", "same"]]
    # Other settings are another tower, and another encoder.
    fourth = encoded(folder, "encoders.own.seed=1")
    assert (fourth.trained, fourth.taken_over) == (True, 0)
    assert sorted(file.name for file in (folder / "vectors").iterdir()) == ["own.parquet", "own.tower.npz"]


def test_a_killed_training_goes_on(folder):
    told = []

    def killed(epoch, epochs, loss, seconds):
        told.append(epoch)
        if len(told) == 1:
            raise KeyboardInterrupt

    config = EncodingConfig.of(config_of(folder))
    with pytest.raises(KeyboardInterrupt):
        encode_by_tower(config, "own", lambda *_: None, killed)
    assert [path.name for path in (folder / "vectors").iterdir()] == ["own.tower-training.npz"]
    assert encode_by_tower(config, "own", lambda *_: None, killed).trained
    assert told == [1, 2]
    assert sorted(path.name for path in (folder / "vectors").iterdir()) == ["own.parquet", "own.tower.npz"]


def test_it_is_trained_against_another_modality(folder):
    ids = [item for item in titles() if item not in ("i0", "i1")]
    vectors = np.random.default_rng(0).normal(size=(len(ids), 5))
    pq.write_table(pa.table({"item_id": ids, "embedding": vectors.tolist()}), folder / "given.parquet")
    summary = encoded(folder, "encoders.own.against=given")
    # Items without a vector are encoded all the same.
    assert {"i0", "i1"} <= set(vectors_of(folder))
    assert summary.training.texts + summary.training.held_out <= 59
    (folder / "given.parquet").unlink()
    assert not encoded(folder, "encoders.own.against=given").trained
    with pytest.raises(DataError, match=r"given.parquet"):
        encoded(folder, "encoders.own.against=given", "encoders.own.seed=7")


def test_refuses_what_it_cannot_use(folder):
    with pytest.raises(DataError, match=r"no item of .* has a text in item_id|no column"):
        encoded(folder, "encoders.own.columns=[name]")
    write_items(folder, {"a": "--", "b": None})
    with pytest.raises(DataError, match=r"encoders.own.columns: no item of .* has a text in title"):
        encoded(folder)
    write_items(folder, {"a": "Red kite", "b": "red  KITE!"})
    with pytest.raises(DataError, match=r"encoders.own: 1 different texts in .*; expected thousands. Check `columns`"):
        encoded(folder)
    assert not (folder / "vectors").exists()
    (folder / "vectors").mkdir()
    (folder / "vectors/own.tower.npz").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"own.tower.npz cannot be read: .*remove it: it is trained anew"):
        encoded(folder)
    pq.write_table(pa.table({"item_id": ["a"], "embedding": [[1.0, 2.0]]}), folder / "vectors/own.parquet")
    with pytest.raises(DataError, match="no column 'source', so `dmf encode` did not write it"):
        encoded(folder)


@pytest.mark.parametrize(("settings", "message"), [
    (["encoders.own.against=own"], "encoders.own.against: 'own' is no other modality; others: given"),
    (["encoders.own.against=image"], "encoders.own.against: 'image' is no other modality"),
    (["content.modalities.own.width=9"], "encoders.own.width: 8, but content.modalities.own.width is 9"),
    (["encoders.own.model=a.onnx"], "encoders.own.model: unknown key"),
    (["encoders.own.ngrams=[0]"], "encoders.own.ngrams"),
    (["encoders.own.temperature=0"], "encoders.own.temperature"),
    (["encoders.own.columns=[]"], "encoders.own.columns"),
])  # fmt: skip
def test_configuration_refuses(folder, settings, message):
    with pytest.raises(ConfigError, match=message):
        config_of(folder, *settings)


def test_command(folder, capsys):
    report = folder / "report.json"
    assert main(["encode", "--config", str(folder / "shop.yaml"), "--json", str(report)]) == 0
    lines = capsys.readouterr().err.splitlines()
    said = next(line for line in lines if "trained on" in line)
    assert "held out" in said
    assert "find their partner" in said
    assert "before training" in said
    assert any("own: 63 items, 8 wide: " in line and "2 without text, 1 cut at 7 words" in line for line in lines)
    (written,) = json.loads(report.read_text())["encoders"]
    assert written["trained"] is True
    assert 0 <= written["training"]["accuracy_after"] <= 1
    assert main(["encode", "--config", str(folder / "shop.yaml")]) == 0
    assert "own: the encoder of an earlier run is taken over" in capsys.readouterr().err
