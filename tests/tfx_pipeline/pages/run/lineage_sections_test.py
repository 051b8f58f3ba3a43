"""Latency that was measured elsewhere, and what made a model."""

from __future__ import annotations

import json

import pytest
import yaml

from serving import contract
from tests.tfx_pipeline.pages.runs import run_of
from tfx_pipeline.errors import DataError
from tfx_pipeline.pages.kit.page import Details, Picture, Prose, Table
from tfx_pipeline.pages.run.finished_run import StepRecord
from tfx_pipeline.pages.run.lineage_sections import lineage_section
from tfx_pipeline.pages.run.model_sections import training_section
from tfx_pipeline.pages.run.report_page import report_page
from tfx_pipeline.pages.run.serving_section import ComparedLatency, read_latency, serving_section

MACHINE = {"cpu": "Example CPU", "cores": 2, "gpus": [], "tensorflow": "2.21.0"}
FIGURES = {"p50": 12.3, "p95": 20.0, "p99": 31.4, "max": 55.0, "mean": 13.0}
LOAD = {
    "requests": 100,
    "answered": 99,
    "latency_ms": FIGURES,
    "qps": 70.0,
    "request_bytes": 20_000,
    "answer_bytes": 5_000,
    "wrong_scores": 0,
    "load": {"candidates": 1200, "history": 50, "concurrency": 4},
    "machine": MACHINE,
}
RESULT = {"signature": "rank", "transport": "gRPC", "history": 100, "p50_ms": 20.0, "p99_ms": 30.0, "qps": 48.0}
COMPARED = {"results": [{"model": "dmf", **RESULT}, {"model": "din", **RESULT}], "ratios": {}, "machine": MACHINE}


def test_latency_of_a_load_is_drawn_and_said(tmp_path):
    file = tmp_path / "latency.json"
    file.write_text(json.dumps(LOAD))
    section = serving_section(read_latency(file), None)
    (picture,) = (block for block in section.blocks if isinstance(block, Picture))
    assert "50" in picture.caption
    assert "within 12.3 ms" in picture.caption
    assert "1200 candidates" in picture.caption


def test_the_memory_of_a_server_of_ones_own_stands_beside_its_latency(tmp_path):
    def rows(**more):
        file = tmp_path / "latency.json"
        file.write_text(json.dumps(LOAD | more))
        (table,) = (one for one in serving_section(read_latency(file), None).blocks if isinstance(one, Table))
        return [row for row in table.rows if row[0].startswith("memory of the server")]

    memory = {"first_quarter": 1_118_000_000, "last_quarter": 1_135_000_000, "peak": 1_204_000_000}
    assert rows(memory=memory) == [
        ("memory of the server, first quarter", "1.1 GB"),
        ("memory of the server, last quarter", "1.1 GB"),
        ("memory of the server, most at one moment", "1.2 GB"),
    ]
    # Of a server that ran before, and of files of earlier versions.
    assert rows(memory=None) == rows() == []


def test_latency_of_compared_models_is_a_table():
    (table,) = (
        block for block in serving_section(ComparedLatency.from_json(COMPARED), None).blocks if isinstance(block, Table)
    )
    assert [row[0] for row in table.rows] == ["dmf", "din"]
    assert {len(row) for row in table.rows} == {len(table.columns)}


def test_unmeasured_latency_says_how_to_measure():
    (prose,) = serving_section(None, None).blocks
    assert "dmf bench serving" in prose.text


def test_the_size_of_the_model_stands_beside_its_latency(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(bytes(2_000_000))
    table = serving_section(None, tmp_path).blocks[-1]
    assert [row for row in table.rows if row[0] in ("graph", "total")] == [("graph", "2.0 MB"), ("total", "2.0 MB")]


@pytest.mark.parametrize("text", ["", "[]", '{"results": []}', "not json"])
def test_other_files_are_refused_as_latency(tmp_path, text):
    file = tmp_path / "latency.json"
    file.write_text(text)
    with pytest.raises(DataError, match=r"--latency: .*latency\.json"):
        read_latency(file)
    with pytest.raises(DataError, match="cannot read"):
        read_latency(tmp_path / "absent.json")


def test_settings_are_shown_as_plain_yaml(tmp_path):
    run = run_of(tmp_path, {}, settings={"training": json.dumps({"epochs": 3}), "name": "tiny"})
    (details,) = (block for block in lineage_section(run).blocks if isinstance(block, Details))
    assert details.text == "training:\n  epochs: 3\nname: tiny\n"


def test_settings_are_those_that_a_search_of_the_pipeline_found(tmp_path):
    """What the trainer was configured with says what was there before the search."""
    metadata = {
        **dict.fromkeys(("created", "config_digest", "seed"), "-"),
        "config": {"model": {"name": "dmf", "params": {"id_dim": 8}}, "training": {"epochs": 5}},
        "git": None,
        "content": {"version": "-"},
        "weights": 1,
        "params": {"id_dim": 8},
        "versions": {},
    }
    history = [{"auc": 0.6, "loss": 0.5, "val_auc": 0.6, "val_loss": 0.5}] * 4
    training = {"history": history, "best_epoch": 1, "train_requests": 1000, "eval_requests": 100}
    training["requests_per_second"] = None
    run = run_of(
        tmp_path,
        {
            ("RankingTrainer", "model"): {f"Format-Serving/{contract.METADATA_FILE}": metadata},
            ("RankingTrainer", "model_run"): {"training.json": training},
        },
        settings={
            "model": json.dumps({"name": "dmf", "params": {"id_dim": 64}}),
            "training": json.dumps({"epochs": 9}),
            "tuning": json.dumps({"trials": 3}),
        },
    )
    (details,) = (block for block in lineage_section(run).blocks if isinstance(block, Details))
    assert yaml.safe_load(details.text) == {**metadata["config"], "tuning": {"trials": 3}}
    assert "after 4 of at most 5 epochs" in training_section(run).blocks[0].caption


def test_run_that_stopped_early_has_a_page_that_says_where(tmp_path):
    steps = [StepRecord("BehaviorLogExampleGen", "ran", 0, 1.0, 1234), StepRecord("Transform", "failed", 1000, 2.0)]
    run = run_of(tmp_path, {}, steps=steps)
    table = lineage_section(run).blocks[0]
    assert [(row[0], row[-1]) for row in table.rows] == [("BehaviorLogExampleGen", "1,234"), ("Transform", "")]
    page = report_page(run)
    assert [(verdict.tone, "Transform" in verdict.text) for verdict in page.verdicts] == [("bad", True)]
    assert page.figures == []
    said = [block.text for section in page.sections for block in section.blocks if isinstance(block, Prose)]
    assert any("trained no model" in text for text in said)


def test_sections_stand_in_the_order_in_which_a_ranker_is_asked_about(tmp_path):
    page = report_page(run_of(tmp_path, {}))
    assert [section.anchor for section in page.sections] == [
        *("metrics", "baselines", "demands", "slices", "scores", "failures"),
        *("serving", "training", "content", "evidence"),
        *("data", "splits", "anomalies"),
        "lineage",
    ]


def test_later_failure_is_a_warning(tmp_path):
    page = report_page(run_of(tmp_path, {}, later_failure=StepRecord("Transform", "failed", 86_400_000, 1.0)))
    assert [verdict.tone for verdict in page.verdicts] == ["warning", "bad"]
    assert "1970-01-02" in page.verdicts[0].text
    assert page.verdicts[1].text == "Not pushed."
