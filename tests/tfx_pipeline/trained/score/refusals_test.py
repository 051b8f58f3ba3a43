"""What `dmf score` refuses: a sentence, and nothing is written."""

from __future__ import annotations

import subprocess
import sys

import pytest

from serving import contract
from tests.tfx_pipeline.trained.score.conftest import rows_of
from tfx_pipeline.cli import main
from tfx_pipeline.errors import DataError
from tfx_pipeline.trained.score import score as module
from tfx_pipeline.trained.version import Version

_LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
from tfx_pipeline.cli import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture
def output(world):
    """Where an earlier output lies, which every refusal leaves as it is."""
    path = world.folder / "out.parquet"
    path.write_bytes(b"of yesterday")
    yield path
    assert path.read_bytes() == b"of yesterday"
    assert not list(world.folder.rglob(".incoming-*"))


@pytest.fixture
def log(world):
    return world.write("new.csv", rows_of(2, 30, 10))


def test_no_model(world, log, capsys):
    command = ["score", str(log), "--model", str(world.folder / "no"), "-o", str(world.folder / "out.parquet")]
    assert main(command) == 1
    assert "no such folder" in capsys.readouterr().err


def test_a_log_that_is_not_there(world, output, refuses):
    assert "no.csv: no such file" in refuses(world.folder / "no.csv", output)


@pytest.mark.parametrize("column", ["user", "item", "at", "session", "income"])
def test_a_log_without_a_column(world, output, refuses, column):
    rows = [{name: value for name, value in row.items() if name != column} for row in rows_of(2, 30, 3)]
    printed = refuses(world.write("new.csv", rows), output)
    assert f"the log to be scored: {world.folder}/new.csv: no column '{column}'; columns there: " in printed


def test_a_log_without_rows(world, output, refuses):
    path = world.folder / "empty.csv"
    path.write_text("user,item,at,clicked,session,income\n")
    assert "no rows in" in refuses(path, output)


def test_a_log_without_a_usable_row_shows_what_is_wrong(world, output, refuses):
    log = world.write("new.csv", [{**row, "at": row["at"] * 1000} for row in rows_of(2, 30, 3)])
    printed = refuses(log, output)
    assert "none of the" in printed and "time_out_of_range" in printed and "often a wrong unit" in printed


@pytest.mark.parametrize("lost", ["own/log.csv", "users.jsonl"])
def test_what_the_model_was_trained_on_is_gone(world, output, log, refuses, lost):
    (world.folder / lost).unlink()
    printed = refuses(log, output)
    assert lost.rpartition("/")[0] in printed and "put those files, or links to them, back" in printed


@pytest.mark.parametrize("file", [contract.LOGS_FILE, contract.METADATA_FILE])
@pytest.mark.parametrize("damage", ["", "{}", "no json"])
def test_a_model_that_does_not_say_how_logs_are_read(world, output, log, refuses, file, damage):
    (world.model / file).write_text(damage)
    assert "does not say how its logs are read" in refuses(log, output)


def test_a_damaged_model(world, output, log, refuses):
    (world.model / "saved_model.pb").write_bytes(b"no model")
    assert "cannot be loaded as a ranking model" in refuses(log, output)


def test_an_output_that_is_read(world, log, refuses):
    own = world.folder / "own/log.csv"
    before = own.read_bytes(), log.read_bytes()
    assert "which is read" in refuses(log, log)
    assert "which is read" in refuses(log, world.folder / "users.jsonl")
    assert "which is read" in refuses(log, own)
    rows = world.write("out.quarantine.jsonl", rows_of(2, 30, 3))
    assert "which is read" in refuses(rows, world.folder / "out.parquet") and rows.exists()
    # It would be a part of the log when that is read again.
    world.write("days/a.csv", rows_of(2, 30, 3))
    assert "which is read" in refuses(world.folder / "days", world.folder / "days/scores.parquet")
    assert before == (own.read_bytes(), log.read_bytes())


def test_a_log_that_changes_meanwhile(world, output, log, monkeypatch):
    honest = module.read_users

    def grows(*arguments):
        honest(*arguments)
        with log.open("a") as file:
            file.write("u1,1700000099,x,i1,0,1.0\n")

    monkeypatch.setattr(module, "read_users", grows)
    with pytest.raises(DataError, match="changed while it was scored"):
        module.score(Version(world.model), log, output, lambda *_: None, batch=8)


@pytest.mark.slow
@pytest.mark.parametrize("limit", [100, 2_000])
def test_a_disk_without_room(world, output, log, limit):
    command = ["score", str(log), "--model", str(world.model), "-o", str(output)]
    result = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(limit), *command], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr and "File too large" in result.stderr
    assert str(world.folder) in result.stderr
