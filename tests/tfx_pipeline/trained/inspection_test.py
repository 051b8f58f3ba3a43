"""`dmf model inspect`: what it says of an exported model, and of what is none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from serving import contract
from serving.export.metadata import read_json, write_json
from tfx_pipeline.cli import main
from tfx_pipeline.errors import ModelError
from tfx_pipeline.trained.inspection import inspect_model
from tfx_pipeline.trained.version import Version


@pytest.fixture
def model(trained, tmp_path) -> Path:
    """A copy of the exported model as version 7 of a served model, evaluated."""
    version = tmp_path / "shop" / "7"
    shutil.copytree(trained / "Format-Serving", version)
    metrics = {"test": {"overall": {"auc": 0.7512, "log_loss": 0.6, "gauc": None}, "content": {}}}
    write_json(version, contract.EVALUATION_FILE, {"metrics": metrics})
    return version


def test_metadata_says_how_the_model_was_made(model, trained, tiny_world):
    metadata = inspect_model(Version(model)).metadata
    assert (metadata["model"], metadata["served_name"], metadata["seed"]) == ("dmf", "tiny", 5)
    # Also those that the configuration left at their defaults.
    assert metadata["params"]["buckets"] == 9
    assert metadata["params"]["heads"] == 1
    training = json.loads((trained / "run" / "training.json").read_text())
    assert metadata["training"]["metrics"] == training["history"][training["best_epoch"]]
    assert metadata["data"]["splits"]["train"] == {
        "requests": 400,
        "impressions": 0,
        "positives": 0,
        "first_time": "1970-01-01T00:00:01Z",
        "last_time": "1970-01-01T00:01:40Z",
    }
    assert metadata["data"]["cuts"] == {"eval_from": "1970-01-01T00:01:41Z", "test_from": "1970-01-01T00:01:51Z"}
    assert (metadata["data"]["users"], metadata["data"]["catalogue_items"]) == (20, 40)
    text = metadata["content"]["modalities"]["text"]
    # 41 rows of 6 float16 numbers, and whether there is content.
    assert text == {
        "source": "text.npz",
        "source_width": 9,
        "width": 6,
        "dtype": "float16",
        "items_with_content": 35,
        "table_bytes": 41 * (6 * 2 + 1),
    }
    assert metadata["artifacts"] == {
        "model_run": str(trained / "run"),
        "transform_graph": str(tiny_world.transform_graph),
        "content": str(tiny_world.content),
        "requests": str(tiny_world.requests),
    }
    assert metadata["sizes"]["graph"] == (model / "saved_model.pb").stat().st_size
    assert len(metadata["config_digest"]) == 16
    assert metadata["config"]["training"]["batch_size"] == 32


def test_tables_have_signatures_data_sizes_and_metrics(model, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["model", "inspect", str(model.parent)]) == 0
    printed = capsys.readouterr().out
    for words in (
        str(model),
        "rank_with_content",
        "candidate_content/text",
        "[?, ?, 9]",
        "saved_model.pb",
        "content 'text'",
        "width 6 of 9",
        "1970-01-01 00:01",
        "test, by the Evaluator",
        "0.7512",
        "heads 1",
        "tensorflow 2.",
    ):
        assert words in printed


def test_what_a_precision_costs_is_told(rounded, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["model", "inspect", str(rounded / "Format-Serving")]) == 0
    printed = capsys.readouterr().out
    assert "bfloat16 in head and branches; on eval, beside float32: auc " in printed


def test_a_retrieval_stage_is_shown(model, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    metadata = read_json(model, contract.METADATA_FILE)
    assert main(["model", "inspect", str(model)]) == 0
    assert "two towers" not in capsys.readouterr().out
    metadata["retrieval"] = {
        "items": 1200,
        "width": 8,
        "index_bytes": 38400,
        "ranked_candidates": 500,
        "params": {"id_dim": 8, "pooling": "mean"},
        "epochs": 4,
        "best_epoch": 2,
        "metrics": {"loss": 1.5, "val_recall@100": 0.34567},
    }
    write_json(model, contract.METADATA_FILE, metadata)
    assert main(["model", "inspect", str(model)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert (
        "retrieval 1,200 items, width 8, index of 38,400 bytes; 500 items are ranked; epoch 3 of 4: recall@100 on "
        "eval 0.3457"
    ) in printed
    assert "two towers id_dim 8, pooling mean" in printed


def test_the_loss_that_was_minimised_is_not_shown_as_log_loss(model, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["model", "inspect", str(model)]) == 0
    lines = capsys.readouterr().out.replace("┃", "│").splitlines()

    def cells(words: str) -> list[str]:
        (line,) = (line for line in lines if words in line)
        return [cell.strip() for cell in line.split("│")]

    header = cells("loss with penalties")
    log_loss, penalised = header.index("log loss"), header.index("loss with penalties")
    logged = read_json(model, contract.METADATA_FILE)["training"]["metrics"]
    for words, key in (("train, epoch", "loss"), ("eval, epoch", "val_loss")):
        assert (cells(words)[log_loss], cells(words)[penalised]) == ("", f"{logged[key]:.4f}")
    assert (cells("by the Evaluator")[log_loss], cells("by the Evaluator")[penalised]) == ("0.6000", "")


def test_requests_have_dashes_where_they_were_not_measured(model, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["model", "inspect", str(model)]) == 0
    table = capsys.readouterr().out.partition("ranking within requests")[2]
    assert all(name in table for name in ("hr@5", "ndcg@10", "mrr", "request auc", "skipped requests"))
    (line,) = (line for line in table.splitlines() if "test" in line)
    assert [cell.strip() for cell in line.split("│")[2:-1]] == ["-"] * 7


def test_json_is_what_lies_beside_the_model(model, capsys):
    assert main(["model", "inspect", str(model), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["metadata"] == read_json(model, contract.METADATA_FILE)
    assert found["evaluation"] == read_json(model, contract.EVALUATION_FILE)
    assert found["contract"] == json.loads((model / contract.CONTRACT_FILE).read_text())
    assert found["sizes"]["variables"] == sum(path.stat().st_size for path in (model / "variables").iterdir())


def test_a_model_without_metadata_shows_its_signatures(model, capsys):
    for file in (contract.METADATA_FILE, contract.EVALUATION_FILE):
        (model / file).unlink()
    assert main(["model", "inspect", str(model)]) == 0
    printed = capsys.readouterr().out
    assert "candidate_item_id" in printed
    assert "no metadata: " in printed


def test_what_is_no_model_is_a_sentence(model, tmp_path, capsys):
    assert main(["model", "inspect", str(tmp_path / "nowhere")]) == 1
    assert "holds no exported model (saved_model.pb)" in capsys.readouterr().err
    (model / contract.METADATA_FILE).write_text("{")
    with pytest.raises(ModelError, match="cannot be read as a ranking model: Expecting property name"):
        inspect_model(Version(model))
    (model / contract.CONTRACT_FILE).unlink()
    with pytest.raises(ModelError, match=r"has no signature_contract\.json: a SavedModel, but no ranking model"):
        inspect_model(Version(model))
