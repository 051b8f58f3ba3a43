"""`dmf bench ingestion`: the examples are those of Polars, and the figures fit together."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.cli import main
from tfx_pipeline.errors import PipelineError
from tfx_pipeline.studies.bench import ingestion, ingestion_jobs
from tfx_pipeline.studies.bench.ingestion_log import write_log


@pytest.fixture
def in_process(monkeypatch):
    """Jobs run here: a process of its own imports for seconds."""

    def run(command, **kept):
        assert command[1:3] == ["-m", ingestion_jobs.__name__] and kept["env"]["POLARS_MAX_THREADS"] == command[-1]
        ingestion_jobs.main(command[3:])
        return ingestion.subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(ingestion.subprocess, "run", run)


@pytest.mark.slow
def test_json_has_every_job_of_every_log(in_process, capsys):
    arguments = ["--events", "900,300", "--workers", "1", "--candidates", "1", "--largest-user", "80"]
    assert main(["bench", "ingestion", *arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    jobs = [(entry["events"], entry["job"], entry["workers"]) for entry in report["results"]]
    assert jobs == [(size, job, 1) for size in (380, 980) for job in ("step", "functions", "polars")]
    for entry in report["results"]:
        # Seconds are told to the millisecond, of which a job may take few, and rates to a tenth.
        seconds, rate = entry["seconds"], entry["events_per_second"]
        assert seconds * rate == pytest.approx(entry["events"], abs=1.01 * (0.05 * seconds + 0.0005 * rate))
        assert entry["peak_mib"] > 100
    functions = report["results"][1]
    assert sum(functions["parts"].values()) == pytest.approx(functions["cpu_seconds"], rel=0.3)
    assert set(report["growth"]) == {"step 1", "functions 1", "polars 1"}
    assert set(report["against_polars"]) == {"380", "980"}


@pytest.mark.slow
def test_polars_and_the_functions_say_the_same_of_requests_of_several(tmp_path, capsys):
    config = write_log(tmp_path, 3000, 3, largest_user=600)
    for job in ("functions", "polars"):
        (tmp_path / job).mkdir()
        ingestion_jobs.main([job, config.to_json(), str(tmp_path / job), "1"])
    ingestion.check_equal("functions", tmp_path / "functions", tmp_path / "polars")
    train = pq.read_table(tmp_path / "polars" / "train.parquet")
    lengths = pc.list_value_length(train["history"]).to_numpy()
    # Empty ones are null there.
    assert np.nanmax(lengths) == 50 and np.isnan(lengths).any()
    # One candidate more in one history is found.
    longer = [
        [*(history or ()), "i1"] if row == 7 else history for row, history in enumerate(train["history"].to_pylist())
    ]
    pq.write_table(train.set_column(4, "history", pa.array(longer)), tmp_path / "polars" / "train.parquet")
    with pytest.raises(PipelineError, match=r"functions: .* examples of train are not the"):
        ingestion.check_equal("functions", tmp_path / "functions", tmp_path / "polars")


def test_no_user_has_two_requests_of_one_moment(tmp_path):
    write_log(tmp_path, 400, 1, largest_user=200_000)
    log = pq.read_table(tmp_path / "log.parquet")
    assert len(np.unique(log["timestamp"].to_numpy())) == log.num_rows == 200_400


def test_a_log_too_small_is_refused(capsys):
    assert main(["bench", "ingestion", "--events", "100"]) == 2
    assert "--events: 100 are too few in requests of 5; expected 1000 or more" in capsys.readouterr().err


def test_a_job_that_fails_is_named(monkeypatch, tmp_path, capsys):
    failed = ingestion.subprocess.CompletedProcess([], 1, "", "Traceback\nMemoryError: no room")
    monkeypatch.setattr(ingestion.subprocess, "run", lambda *_, **__: failed)
    assert main(["bench", "ingestion", "--events", "1000"]) == 1
    assert "the job step over 1,000 events ended with 1: MemoryError: no room" in capsys.readouterr().err
    killed = ingestion.subprocess.CompletedProcess([], -9, "", "")
    monkeypatch.setattr(ingestion.subprocess, "run", lambda *_, **__: killed)
    assert main(["bench", "ingestion", "--events", "1000"]) == 1
    assert "ended with -9: it was killed, perhaps for want of memory" in capsys.readouterr().err
