"""What `dmf run` does when it cannot: a sentence and the log, never a traceback."""

from __future__ import annotations

import fcntl
import sqlite3
from pathlib import Path

import pytest

from tests.end_to_end.conftest import small_config
from tfx_pipeline.cli import exit_status, main
from tfx_pipeline.config import load_config
from tfx_pipeline.runners.metadata_store import check_store, set_aside


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


def _empty(store: Path) -> None:
    store.write_bytes(b"")


def _no_database(store: Path) -> None:
    store.write_bytes(b"not a database, " * 1000)


def _cut(store: Path) -> None:
    connection = sqlite3.connect(store)
    connection.execute("CREATE TABLE Execution (id INTEGER, words TEXT)")
    connection.executemany("INSERT INTO Execution VALUES (?, ?)", [(n, "word " * 100) for n in range(1000)])
    connection.commit()
    connection.close()
    store.write_bytes(store.read_bytes()[: store.stat().st_size // 2])


def _another_database(store: Path) -> None:
    sqlite3.connect(store).execute("CREATE TABLE other (id INTEGER)").connection.close()


def _gone(store: Path) -> None:
    (store.parent / "artifacts/Trainer").mkdir(parents=True)


@pytest.mark.parametrize("damage", [_empty, _no_database, _cut, _another_database, _gone, Path.mkdir])
def test_a_damaged_metadata_store_is_refused_with_the_way_out(config_file, tmp_path, capfd, damage):
    output = tmp_path / "out"
    output.mkdir()
    damage(output / "metadata.sqlite")
    assert main(["run", "--config", str(config_file), "--set", f"output={output}"]) == exit_status.ERROR
    printed = capfd.readouterr().err.replace("\n", " ")
    assert f"{output / 'metadata.sqlite'} is " in printed
    assert "dmf run --rebuild-metadata" in printed
    assert "Traceback" not in printed


def test_what_earlier_runs_left_is_set_aside(config_file, tmp_path):
    config = load_config(config_file, [f"output={tmp_path}"])
    _no_database(tmp_path / "metadata.sqlite")
    (tmp_path / "metadata.sqlite-journal").write_text("x")
    (tmp_path / "artifacts/Trainer").mkdir(parents=True)
    (tmp_path / "serving").mkdir()
    assert len(set_aside(config)) == 3
    check_store(config)
    assert [path.name.partition(".set-aside-")[0] for path in sorted(tmp_path.iterdir())] == [
        "artifacts",
        "metadata.sqlite-journal",
        "metadata.sqlite",
        "serving",
    ]


def test_a_dry_run_refuses_the_data_as_the_check_does(config_file, tmp_path, capfd):
    output, wrong = tmp_path / "out", "data.interactions.columns.user=customer"
    said = []
    for command in (
        ["config", "check", str(config_file), "--data"],
        ["run", "--config", str(config_file), "--dry-run"],
    ):
        assert main([*command, "--set", f"output={output}", "--set", wrong]) == exit_status.ERROR
        said.append(capfd.readouterr().err.splitlines()[-3:])
    assert said[0] == said[1]
    assert "customer" in " ".join(said[0])
    assert not output.exists()


def test_a_dry_run_has_no_summary(config_file, tmp_path, capfd):
    command = ["run", "--config", str(config_file), "--dry-run", "--summary-json", str(tmp_path / "summary.json")]
    assert main(command) == exit_status.USAGE
    assert "--summary-json: --dry-run runs nothing" in capfd.readouterr().err
