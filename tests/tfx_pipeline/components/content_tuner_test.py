"""The step that tunes content: what it reads, what it writes, and what it must never see."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tfx.types import standard_artifacts

from tests.tfx_pipeline.conftest import _tally
from tests.tfx_pipeline.training.content_tuning.behaviour import ITEMS, LENGTH, SHOWN, behaviour, vectors
from tfx_pipeline.components.artifacts import IngestionReport, ItemContent
from tfx_pipeline.components.content_tuner.executor import Executor
from tfx_pipeline.components.item_content_gen.component import ItemContentGen
from tfx_pipeline.components.item_content_gen.executor import Executor as ContentExecutor
from tfx_pipeline.config import load_config
from tfx_pipeline.data.content.table import read_content
from tfx_pipeline.errors import LeakageError
from tfx_pipeline.training.content_tuning import fine_tuning
from tfx_pipeline.training.content_tuning.record import FineTuningRecord

CONFIG = """
name: test
output: out
data:
  interactions: {path: absent.parquet}
  items: {path: items.csv}
split: {fractions: {}}
content:
  modalities:
    text: {path: text.parquet, dim: 4, dtype: float32}
  fine_tuning: {dim: 6, epochs: 1, batch_size: 64, queue: 64, hard_negatives: 2}
"""
# Of the report: train ends before the first of these seconds, test begins with the second.
EVAL_FROM, TEST_FROM = 101_000_000, 111_000_000


def _write_examples(folder: Path, rows, split: str) -> None:
    import tensorflow as tf

    from tfx_pipeline.data.examples.encoding import encode
    from tfx_pipeline.data.examples.requests import Request

    (folder / f"Split-{split}").mkdir(parents=True)
    options = tf.io.TFRecordOptions(compression_type="GZIP")
    names = [f"i{item}".encode() for item in range(ITEMS)]
    with tf.io.TFRecordWriter(str(folder / f"Split-{split}" / "data-00000-of-00001.gz"), options) as writer:
        for number, (user, time) in enumerate(zip(rows.users, rows.times, strict=True)):
            shown = slice(SHOWN * number, SHOWN * (number + 1))
            request = Request(
                candidates=[names[item] for item in rows.candidates[shown]],
                labels=rows.labels[shown].astype(int).tolist(),
                time_us=int(time),
                first_row=number,
            )
            history = [names[item] for item in rows.history[LENGTH * number : LENGTH * (number + 1)]]
            writer.write(encode(f"u{user}".encode(), history, request, split, {}, {}))


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """Files of a small world: configuration, catalogue, embeddings, examples and the report of ingestion."""
    from tfx_pipeline.components.behavior_log_example_gen.report import build_report, to_text

    folder, rng = tmp_path_factory.mktemp("content_tuner"), np.random.default_rng(0)
    unit, groups = vectors(rng)
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "items.csv").write_text("item_id\n" + "\n".join(f"i{item}" for item in range(ITEMS)) + "\n")
    ids = [f"i{item}" for item in range(ITEMS)]
    # The last item has no embedding.
    pq.write_table(pa.table({"item_id": ids[:-1], "embedding": unit[:-1].tolist()}), folder / "text.parquet")
    for split, requests, first in (("train", 300, 1_000_000), ("eval", 80, EVAL_FROM), ("test", 80, TEST_FROM)):
        _write_examples(folder / "examples", behaviour(rng, groups, requests, first), split)
    config = load_config(folder / "config.yaml")
    (folder / "report").mkdir()
    (folder / "report" / "report.json").write_text(to_text(build_report(_tally())))
    content = ItemContent()
    content.uri = str(folder / "content")
    ContentExecutor().Do({}, {"content": [content]}, ItemContentGen(config, "files", "code").spec.exec_properties)
    return folder


def _tune(world: Path, out: Path, examples: Path | None = None, *overrides: str) -> ItemContent:
    inputs = {}
    for key, kind, folder in (
        ("content_table", ItemContent, world / "content"),
        ("examples", standard_artifacts.Examples, examples or world / "examples"),
        ("report", IngestionReport, world / "report"),
    ):
        inputs[key] = [kind()]
        inputs[key][0].uri = str(folder)
    made = ItemContent()
    made.uri = str(out)
    section = load_config(world / "config.yaml", overrides).content.model_dump_json()
    properties = {"section": section, "source_fingerprint": "files", "code_digest": "code"}
    Executor().Do(inputs, {"content": [made]}, properties | {"state_root": str(world / "state")})
    return made


@pytest.fixture(scope="module")
def tuned(world, tmp_path_factory) -> ItemContent:
    return _tune(world, tmp_path_factory.mktemp("tuned") / "content")


def test_a_killed_step_goes_on_and_leaves_no_state(world, tuned, tmp_path, monkeypatch, capfd):
    assert list((world / "state").iterdir()) == []
    written = fine_tuning.Progress.save

    def killed(progress, file):
        written(progress, file)
        if len(progress.epochs) == 2:
            raise KeyboardInterrupt

    longer = ("content.fine_tuning.epochs=2",)
    monkeypatch.setattr(fine_tuning.Progress, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        _tune(world, tmp_path / "killed", None, *longer)
    monkeypatch.setattr(fine_tuning.Progress, "save", written)
    (state,) = (world / "state").iterdir()
    # Other settings do not take it for theirs.
    capfd.readouterr()
    _tune(world, tmp_path / "other", None, "content.fine_tuning.epochs=1", "content.fine_tuning.seed=7")
    assert "before training" in capfd.readouterr().err and state.exists()
    made = _tune(world, tmp_path / "content", None, *longer)
    assert re.findall("ContentTuner, (.*?):", capfd.readouterr().err) == ["epoch 2 of at most 2"]
    record = FineTuningRecord.from_json(json.loads((tmp_path / "content" / "fine_tuning.json").read_text()))
    assert len(record.epochs) == 3 and list((world / "state").iterdir()) == []
    assert read_content(made.uri).version


def test_tuned_vectors_lie_beside_those_that_they_are_made_of(world, tuned):
    before, after = read_content(world / "content"), read_content(tuned.uri)
    assert list(after.modalities) == ["text", "text_tuned"]
    assert after.item_ids == before.item_ids
    np.testing.assert_array_equal(after.modalities["text"].vectors, before.modalities["text"].vectors)
    made = after.modalities["text_tuned"]
    assert (made.width, made.source_width, made.storage_dtype) == (6, 12, "float32")
    # Every item with an embedding has a tuned vector, whoever clicked it; the one without has none.
    assert made.present.tolist() == [True] * (ITEMS - 1) + [False]
    assert (made.coverage.present, made.coverage.missing) == (ITEMS - 1, 1)
    assert tuned.get_string_custom_property("version") == after.version != before.version


def test_its_basis_makes_tuned_vectors_of_what_an_encoder_gives(world, tuned):
    made = read_content(tuned.uri).modalities["text_tuned"]
    source = np.array(pq.read_table(world / "text.parquet")["embedding"].to_pylist(), np.float32)
    projected = source @ made.basis
    length = np.linalg.norm(projected, axis=1, keepdims=True)
    np.testing.assert_allclose(projected / length, made.vectors[:-1], atol=1e-5)
    # Neither so long nor so short that another rule for what has a direction would be needed.
    assert np.linalg.norm(made.basis, 2) == pytest.approx(1, abs=1e-5)


def test_the_record_says_what_it_learned_from(tuned):
    record = FineTuningRecord.from_json(json.loads((Path(tuned.uri) / "fine_tuning.json").read_text()))
    assert (record.of, record.widths) == (("text",), {"text_tuned": (12, 6)})
    assert record.last_time < record.eval_from
    assert 0 < record.clicks <= 300 and record.judged == 80 and len(record.epochs) == 2


def test_own_vectors_can_be_left_out(world, tmp_path):
    made = _tune(world, tmp_path / "content", None, "content.fine_tuning.keep=[]")
    assert list(read_content(made.uri).modalities) == ["text_tuned"]


def test_what_comes_after_the_cut_changes_nothing(world, tuned, tmp_path):
    """Planted: test requests whose clicks are all others. Were they learned from, the vectors would be others too."""
    examples = tmp_path / "examples"
    shutil.copytree(world / "examples", examples)
    shutil.rmtree(examples / "Split-test")
    rng = np.random.default_rng(9)
    _write_examples(examples, behaviour(rng, rng.integers(4, size=ITEMS), 500, TEST_FROM), "test")
    made = read_content(_tune(world, tmp_path / "content", examples).uri).modalities["text_tuned"]
    before = read_content(tuned.uri).modalities["text_tuned"]
    np.testing.assert_allclose(made.vectors, before.vectors, atol=1e-3)


def test_it_would_have_changed_the_vectors_in_train_and_is_refused_there(world, tuned, tmp_path):
    """The same requests planted in train: the audit sees that they are of later, and nothing is written."""
    examples = tmp_path / "examples"
    shutil.copytree(world / "examples", examples)
    rng = np.random.default_rng(9)
    later = behaviour(rng, rng.integers(4, size=ITEMS), 500, TEST_FROM)
    _write_examples(tmp_path / "later", later, "train")
    shutil.copy(
        tmp_path / "later" / "Split-train" / "data-00000-of-00001.gz", examples / "Split-train" / "data-00001.gz"
    )
    with pytest.raises(LeakageError, match=r"content\.fine_tuning: 500 requests of the train split are not before"):
        _tune(world, tmp_path / "content", examples)
    assert not (tmp_path / "content").exists()
    # With the times of train they would have been learned from.
    shutil.rmtree(tmp_path / "later")
    later.times[:] = 1_000_000
    _write_examples(tmp_path / "later", later, "train")
    shutil.copy(
        tmp_path / "later" / "Split-train" / "data-00000-of-00001.gz", examples / "Split-train" / "data-00001.gz"
    )
    made = read_content(_tune(world, tmp_path / "content", examples).uri).modalities["text_tuned"]
    before = read_content(tuned.uri).modalities["text_tuned"]
    assert np.abs(made.vectors - before.vectors).max() > 0.02
