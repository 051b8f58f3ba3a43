"""A run whose files are damaged: a sentence that names the file, and the step that makes it anew."""

from __future__ import annotations

import gzip
from pathlib import Path

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2

from tests.tfx_pipeline.pages.runs import INGESTION_REPORT, run_of
from tfx_pipeline.cli import main
from tfx_pipeline.errors import DataError
from tfx_pipeline.pages.run.data_sections import anomalies_section, arrival_section, splits_section
from tfx_pipeline.pages.run.model_sections import training_section
from tfx_pipeline.pages.run.report_page import report_page

GARBAGE = b"\xff\xfe is no such file"
REPORT = {**INGESTION_REPORT, "quarantined": {"null_user": 1}}
CASES = {
    "ingestion report": (arrival_section, "BehaviorLogExampleGen", "report", {"report.json": GARBAGE}),
    "quarantine": (
        arrival_section,
        "BehaviorLogExampleGen",
        "report",
        {"report.json": REPORT, "quarantine.jsonl": b"{cut"},
    ),
    "training": (training_section, "RankingTrainer", "model_run", {"training.json": b"{cut"}),
    "anomalies": (anomalies_section, "ExampleValidator", "anomalies", {"Split-eval/SchemaDiff.pb": GARBAGE}),
    "metrics": (
        report_page,
        "Evaluator",
        "evaluation",
        {"validations.tfrecord": GARBAGE, "metrics-00000-of-00001.tfrecord": GARBAGE},
    ),
}


@pytest.mark.parametrize(("section", "node", "name", "files"), CASES.values(), ids=CASES)
def test_a_damaged_file_is_named(tmp_path, section, node, name, files):
    run = run_of(tmp_path, {(node, name): files})
    with pytest.raises(DataError) as refused:
        section(run)
    said = str(refused.value)
    assert said.startswith(str(tmp_path / "artifacts" / node / name / "1"))
    assert "cannot be read: " in said
    assert said.endswith(f"; if it is damaged, dmf run --no-cache {node} makes it anew")


@pytest.mark.parametrize("content", [GARBAGE, gzip.compress(GARBAGE * 10)], ids=["no gzip", "no records"])
def test_damaged_examples_are_named(tmp_path, content):
    documents = {("BehaviorLogExampleGen", "report"): {"report.json": INGESTION_REPORT}}
    documents[("BehaviorLogExampleGen", "examples")] = {"Split-train/data.gz": content}
    with pytest.raises(DataError, match=r"BehaviorLogExampleGen/examples/2 cannot be read: (corrupted record|inflate)"):
        splits_section(run_of(tmp_path, documents))


def test_a_store_that_knows_no_run_and_one_that_is_damaged(tmp_path, capfd):
    database = tmp_path / "metadata.sqlite"
    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = str(database)
    connection.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    mlmd.MetadataStore(connection)
    assert main(["report", str(tmp_path)]) == 1
    assert f"{tmp_path}: no step of a run has been started yet; wait for `dmf run`" in capfd.readouterr().err
    whole = database.read_bytes()
    for damaged in (b"", GARBAGE * 100, whole[: len(whole) // 2]):
        database.write_bytes(damaged)
        assert main(["report", str(tmp_path)]) == 1
        said = capfd.readouterr().err
        assert "cannot be read as a metadata store" in said and "run the pipeline with another output" in said
        assert "Traceback" not in said
    assert not Path(tmp_path, "report.html").exists()
