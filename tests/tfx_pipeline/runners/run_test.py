"""What `dmf run` does when it cannot: a sentence and the log, never a traceback."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from tests.end_to_end.conftest import small_config
from tfx_pipeline.cli import exit_status, main


@pytest.fixture(scope="module")
def config_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_config(tmp_path_factory.mktemp("run"))


def test_a_second_run_on_one_output_is_refused(config_file, tmp_path, capfd):
    output = tmp_path / "out"
    output.mkdir()
    with open(output / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["run", "--config", str(config_file), "--set", f"output={output}"]) == exit_status.ERROR
    printed = capfd.readouterr().err
    assert f"another run is writing to {output}" in printed.replace("\n", " ")
    assert "Traceback" not in printed
    assert not (output / "artifacts").exists()


def test_a_damaged_metadata_store_is_a_sentence_and_a_traceback_in_the_log(config_file, tmp_path, capfd):
    output = tmp_path / "out"
    output.mkdir()
    (output / "metadata.sqlite").write_bytes(b"not a database, " * 1000)
    assert main(["run", "--config", str(config_file), "--set", f"output={output}"]) == exit_status.ERROR
    printed = capfd.readouterr().err
    assert "unexpected" in printed
    assert "log: " in printed
    assert "Traceback" not in printed
    (log,) = (output / "logs").iterdir()
    assert "Traceback" in log.read_text()
