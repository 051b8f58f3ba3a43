"""Sections about a run's data, from the documents that its steps leave."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_metadata.proto.v0 import anomalies_pb2

from tests.tfx_pipeline.pages.runs import INGESTION_REPORT as REPORT
from tests.tfx_pipeline.pages.runs import run_of
from tfx_pipeline.data.examples import raw_features
from tfx_pipeline.pages.kit.page import Picture, Prose, Table
from tfx_pipeline.pages.run.data_sections import anomalies_section, arrival_section, request_times, splits_section

INGESTION = ("BehaviorLogExampleGen", "report")


def quarantined(reason: str, row: int) -> str:
    return json.dumps({"file": "/logs/log.csv", "row": row, "reason": reason, "values": {"user_id": None}})


def prose(section, tone: str) -> list[str]:
    return [block.text for block in section.blocks if isinstance(block, Prose) and block.tone == tone]


def test_rows_add_up_and_reasons_come_by_number(tmp_path):
    lines = "\n".join([quarantined("bad_time", 4), quarantined("null_user", 5), quarantined("bad_time", 9)])
    run = run_of(tmp_path, {INGESTION: {"report.json": REPORT, "quarantine.jsonl": lines}})
    became, reasons = (block for block in arrival_section(run).blocks if isinstance(block, Table))
    assert [row[1] for row in became.rows] == ["985", "10", "4", "1"]
    assert sum(int(row[1]) for row in became.rows) == REPORT["rows_read"]
    assert [(row[0].split(":")[0], row[1], row[3]) for row in reasons.rows] == [
        ("bad_time", "row 4 of log.csv", "7"),
        ("null_user", "row 5 of log.csv", "3"),
    ]


def test_nothing_bad_and_no_leak_is_said(tmp_path):
    report = copy.deepcopy(REPORT) | {"quarantined": {"malformed": 0}}
    good = prose(arrival_section(run_of(tmp_path, {INGESTION: {"report.json": report}})), "good")
    assert len(good) == 2
    assert "No row was quarantined" in good[0]
    assert "30 requests" in good[1]


def test_leaks_are_named(tmp_path):
    report = copy.deepcopy(REPORT)
    report["audit"]["violations"]["history_too_long"] = 3
    (bad,) = prose(arrival_section(run_of(tmp_path, {INGESTION: {"report.json": report}})), "bad")
    assert "history too long: 3" in bad


def test_semantic_ids_have_a_row_a_level(tmp_path):
    content = {"format_version": 2, "version": "0", "items": 12, "titles": False, "modalities": {}}

    def blocks(**codes):
        documents = {
            INGESTION: {"report.json": REPORT},
            ("ItemContentGen", "content"): {"content.json": content | codes},
        }
        return [repr(block) for block in arrival_section(run_of(tmp_path, documents)).blocks]

    before = blocks()
    levels = [{"used": 4, "largest": 5, "error": 0.5}, {"used": 3, "largest": 8, "error": 0.25}]
    report = {"items": 12, "coded": 10, "distinct": 7, "colliding": 5, "levels": levels}
    table, said = (
        block
        for block in blocks(codes={"of": "text", "size": 4, "sha256": "0", "report": report})
        if block not in before
    )
    rows = [
        ("1", "4", "4", "100.0\u00a0%", "5", "50.0\u00a0%", "50.0\u00a0%"),
        ("2", "3", "4", "75.0\u00a0%", "8", "80.0\u00a0%", "25.0\u00a0%"),
    ]
    assert repr(rows) in table
    assert "10 of 12 items have semantic ids, 7 different ones; 5 items (50.0\\xa0%) share" in said


def test_run_without_ingestion_says_so(tmp_path):
    run = run_of(tmp_path, {})
    assert "no ingestion report" in arrival_section(run).blocks[0].text
    assert "no splits" in splits_section(run).blocks[0].text
    assert "left no report" in anomalies_section(run).blocks[0].text


@pytest.fixture
def write_split():
    def write(folder, split: str, times) -> str:
        path = folder / f"Split-{split}" / "data_tfrecord-00000-of-00001.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
            for time in times:
                feature = tf.train.Feature(int64_list=tf.train.Int64List(value=[int(time)]))
                example = tf.train.Example(features=tf.train.Features(feature={raw_features.REQUEST_TIME: feature}))
                writer.write(example.SerializeToString())
        return str(path)

    return write


def test_times_of_requests_are_exact_and_bounded(tmp_path, write_split):
    # Beyond what float32 or float64 seconds would keep apart.
    times = 1_735_689_600_000_000 + np.arange(10)
    file = write_split(tmp_path, "train", times)
    assert request_times([file], 100).tolist() == times.tolist()
    assert request_times([file], 4).tolist() == times[:4].tolist()
    assert request_times([], 4).tolist() == []


@pytest.mark.parametrize(("hours", "unit"), [(10, "hour"), (240, "day")])
def test_time_line_has_bars_of_fitting_width(tmp_path, write_split, hours, unit):
    run = run_of(tmp_path, {INGESTION: {"report.json": REPORT}, ("BehaviorLogExampleGen", "examples"): {"x": ""}})
    folder = run.folder("BehaviorLogExampleGen", "examples")
    start = 1_735_689_600_000_000
    for number, split in enumerate(("train", "eval", "test")):
        write_split(folder, split, start + 3_600_000_000 * hours * (number + np.linspace(0, 0.9, 10)) / 3)
    (picture,) = (block for block in splits_section(run).blocks if isinstance(block, Picture))
    assert f"requests per {unit}" in str(picture.panels[0].svg)
    assert "estimated" not in picture.caption


def test_anomalies_of_each_split_are_listed(tmp_path):
    found = anomalies_pb2.Anomalies()
    found.anomaly_info["device"].description = "Examples contain values missing from the schema: tv"
    found.anomaly_info["device"].severity = anomalies_pb2.AnomalyInfo.ERROR
    files = {
        "Split-eval/SchemaDiff.pb": anomalies_pb2.Anomalies().SerializeToString(),
        "Split-test/SchemaDiff.pb": found.SerializeToString(),
    }
    (table,) = anomalies_section(run_of(tmp_path, {("ExampleValidator", "anomalies"): files})).blocks
    assert table.rows == [("test", "device", "Examples contain values missing from the schema: tv", "error")]


def test_no_anomalies_is_said(tmp_path):
    files = {"Split-eval/SchemaDiff.pb": anomalies_pb2.Anomalies().SerializeToString()}
    (good,) = prose(anomalies_section(run_of(tmp_path, {("ExampleValidator", "anomalies"): files})), "good")
    assert "fit the schema" in good


def test_lists_and_given_histories_have_their_counts(tmp_path):
    report = copy.deepcopy(REPORT) | {"lists": {"rows": 990, "impressions": 1010}, "history_only": 20}
    report["history"]["given"] = {
        "with_times": True,
        "events": 5000,
        "from_future": 3,
        "held_back": 4,
        "ends_in_own_positive": 2,
    }
    section = arrival_section(run_of(tmp_path, {INGESTION: {"report.json": report, "quarantine.jsonl": ""}}))
    rows, impressions, *_ = (block for block in section.blocks if isinstance(block, Table))
    assert [row[1] for row in rows.rows] == ["990", "10"]
    assert sum(int(row[1]) for row in impressions.rows) == 1010 and impressions.rows[-1][1] == "20"
    (given,) = (block.text for block in section.blocks if isinstance(block, Prose) and "given by the log" in block.text)
    assert "of 5,000 events, 3 are at or after their request, and 4 within history.delay_s" in given
    report["history"]["given"]["with_times"] = False
    section = arrival_section(run_of(tmp_path, {INGESTION: {"report.json": report, "quarantine.jsonl": ""}}))
    (given,) = (block.text for block in section.blocks if isinstance(block, Prose) and "given by the log" in block.text)
    assert "their age cannot be checked. 2 requests have one of their own positives" in given


def test_further_histories_have_their_lengths(tmp_path):
    report = copy.deepcopy(REPORT)
    report["history"]["further"] = {"buys": {"0": 30, "1": 60, "20": 10}, "saves": {"0": 100}}
    section = arrival_section(run_of(tmp_path, {INGESTION: {"report.json": report, "quarantine.jsonl": ""}}))
    (table,) = (block for block in section.blocks if isinstance(block, Table) and "Further histories" in block.caption)
    rows = [[cell.replace("\N{NO-BREAK SPACE}", "") for cell in row] for row in table.rows]
    assert rows == [["buys", "70", "30.0%", "20"], ["saves", "0", "100.0%", "0"]]
