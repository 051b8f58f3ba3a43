"""`dmf content list` and `dmf content show`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.cli import main
from tfx_pipeline.data.content.embeddings import ENCODER
from tfx_pipeline.data.encoding.texts import source_of

TITLES = {"a": "red rug", "b": "blue  rug", "c": None, "d": "green mug", "e": "old\nmug"}
MADE_BY = "0123456789abcdef"
VECTORS = {"a": [1.0, 0.0], "b": [0.8, 0.6], "d": [-1.0, 0.0], "gone": [0.0, 1.0]}


@pytest.fixture
def folder(tmp_path) -> Path:
    """Given vectors of some items, and a file of an encoder in which one text is old and one item is not there yet."""
    pq.write_table(
        pa.table({"item_id": list(TITLES), "title": pa.array(list(TITLES.values()), pa.string())}),
        tmp_path / "items.parquet",
    )
    np.savez(tmp_path / "given.npz", item_id=np.array(list(VECTORS)), embedding=np.array(list(VECTORS.values())))
    texts = {"a": "red rug", "b": "blue rug", "d": "another text"}
    table = pa.table(
        {
            "item_id": list(texts),
            "embedding": [[1.0, 2.0, 2.0], [2.0, 2.0, 1.0], [-1.0, 0.0, 0.0]],
            "source": [source_of(MADE_BY, text.encode()) for text in texts.values()],
            "cut": [False] * 3,
        }
    )
    pq.write_table(table.replace_schema_metadata({ENCODER: MADE_BY}), tmp_path / "text.parquet")
    (tmp_path / "shop.yaml").write_text(
        """
name: shop
output: out
data:
  interactions: {path: log.parquet, columns: {user: u, item: i, time: t, label: y}}
  items: {path: items.parquet, title_column: title}
split: {fractions: {train: 0.8, eval: 0.1, test: 0.1}}
content:
  modalities:
    given: {path: given.npz}
    text: {path: text.parquet, dim: 2}
    picture: {path: picture.parquet}
encoders:
  text: {model: m.onnx, tokenizer: t.json, columns: [title]}
  picture: {kind: image, model: m.onnx, column: picture}
""",
        encoding="utf-8",
    )
    return tmp_path


def _printed(capfd, folder: Path, *arguments: str) -> str:
    assert main(["content", *arguments, "--config", str(folder / "shop.yaml")]) == 0
    return capfd.readouterr().out


def test_a_list_says_what_there_is_of_each_modality(folder, capfd):
    given, text, picture = json.loads(_printed(capfd, folder, "list", "--json"))["modalities"]
    assert (given["made_by"], given["encoder"], given["to_encode"]) == ("", None, None)
    assert (given["vectors"], given["covered"], given["unknown"], given["items"]) == (4, 3, 1, 5)
    assert given["bytes"] == (folder / "given.npz").stat().st_size and given["written"].endswith("+00:00")
    assert (text["made_by"], text["encoder"], text["width"], text["dim"]) == ("text", MADE_BY, 3, 2)
    # The text of d has changed and e is new; of c there is nothing to encode. White space is no change.
    assert (text["covered"], text["to_encode"]) == (3, 2)
    assert (picture["there"], picture["vectors"], picture["written"], picture["to_encode"]) == (False, 0, None, None)
    table = _printed(capfd, folder, "list")
    for part in (
        "vectors of 5 items",
        "3, reduced to 2",
        "60.0%",
        "not there yet",
        "`dmf encode` makes",
        "text.parquet",
    ):
        assert part in table


def test_before_anything_is_encoded_all_texts_are_to_be(folder, capfd):
    (folder / "text.parquet").unlink()
    _, text, _ = json.loads(_printed(capfd, folder, "list", "--json"))["modalities"]
    assert (text["there"], text["to_encode"], text["encoder"]) == (False, 4, None)


def test_shows_the_nearest_items_by_each_modality(folder, capfd):
    settings = ("--set", "content.modalities.picture.path=given.npz", "--set", "encoders={}")
    shown = json.loads(_printed(capfd, folder, "show", "--items", "a,c", "--json", *settings))["items"]
    first, second = shown
    assert (first["item"], first["title"]) == ("a", "red rug")
    near = [(each["item"], each["title"]) for each in first["nearest"]["given"]]
    assert near == [("b", "blue  rug"), ("d", "green mug")]
    np.testing.assert_allclose([each["cosine"] for each in first["nearest"]["given"]], [0.8, -1], atol=1e-6)
    np.testing.assert_allclose([each["cosine"] for each in first["nearest"]["text"]], [8 / 9, -1 / 3], atol=1e-6)
    assert second["nearest"] == {"given": None, "text": None, "picture": None}
    text = _printed(capfd, folder, "show", "--items", "a,c", "--neighbours", "1", *settings)
    assert "red rug" in text and "0.889" in text and "no vector" in text and "green mug" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "--items", "a"), "there is no file"),
        (("show", "--items", "aa", "--set", "encoders={}"), "no item 'aa' in"),
        (
            ("list", "--set", "content.modalities={}", "--set", "encoders={}", "--set", "model.name=din"),
            "there are none",
        ),
    ],
)
def test_what_is_not_there_is_said(folder, capfd, arguments, message):
    assert main(["content", *arguments, "--config", str(folder / "shop.yaml")]) != 0
    said = capfd.readouterr().err
    assert message in " ".join(said.split()) and "Traceback" not in said


def test_a_damaged_file_is_named(folder, capfd):
    table = pq.read_table(folder / "text.parquet")
    plain = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    pq.write_table(table, folder / "text.parquet", write_page_checksum=True, **plain)
    content = bytearray((folder / "text.parquet").read_bytes())
    place = content.index(source_of(MADE_BY, b"blue rug").encode())
    content[place] = 0xFF
    (folder / "text.parquet").write_bytes(content)
    assert main(["content", "list", "--config", str(folder / "shop.yaml")]) != 0
    said = " ".join(capfd.readouterr().err.split())
    assert "content.modalities.text: cannot read" in said and "text.parquet" in said and "CRC" in said
