"""Latency that was measured elsewhere, and what made a model."""

from __future__ import annotations

import json

import pytest

from tests.tfx_pipeline.pages.runs import run_of
from tfx_pipeline.errors import DataError
from tfx_pipeline.pages.finished_run import StepRecord
from tfx_pipeline.pages.lineage_sections import latency_section, lineage_section, read_latency
from tfx_pipeline.pages.page import Details, Picture, Prose, Table
from tfx_pipeline.pages.report_page import report_page

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
    section = latency_section(read_latency(file))
    (picture,) = (block for block in section.blocks if isinstance(block, Picture))
    assert "50" in picture.caption
    assert "within 12.3 ms" in picture.caption
    assert "1200 candidates" in picture.caption


def test_latency_of_compared_models_is_a_table():
    (table,) = (block for block in latency_section(COMPARED).blocks if isinstance(block, Table))
    assert [row[0] for row in table.rows] == ["dmf", "din"]
    assert {len(row) for row in table.rows} == {len(table.columns)}


def test_unmeasured_latency_says_how_to_measure():
    (prose,) = latency_section(None).blocks
    assert "dmf bench serving" in prose.text


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
    (details,) = (block for block in lineage_section(run, None).blocks if isinstance(block, Details))
    assert details.text == "training:\n  epochs: 3\nname: tiny\n"


def test_run_that_stopped_early_has_a_page_that_says_where(tmp_path):
    steps = [StepRecord("BehaviorLogExampleGen", "ran", 0, 1.0), StepRecord("Transform", "failed", 1000, 2.0)]
    page = report_page(run_of(tmp_path, {}, steps=steps))
    assert [(verdict.tone, "Transform" in verdict.text) for verdict in page.verdicts] == [("bad", True)]
    assert page.figures == []
    said = [block.text for section in page.sections for block in section.blocks if isinstance(block, Prose)]
    assert any("trained no model" in text for text in said)


def test_later_failure_is_a_warning(tmp_path):
    page = report_page(run_of(tmp_path, {}, later_failure=StepRecord("Transform", "failed", 86_400_000, 1.0)))
    assert [verdict.tone for verdict in page.verdicts] == ["warning", "bad"]
    assert "1970-01-02" in page.verdicts[0].text
    assert page.verdicts[1].text == "Not pushed."
