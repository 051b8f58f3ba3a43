"""`dmf` on a terminal: exit statuses, and sentences instead of tracebacks."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tfx_pipeline.cli import main
from tfx_pipeline.cli.options import with_ids_taken_whole

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def refuse(capfd, monkeypatch):
    """refuse(status, *arguments): what `dmf` prints on standard error when it refuses; it must be no traceback."""
    # `dmf run` sets it for its own process.
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")

    def run(status: int, *arguments: object) -> str:
        assert main([str(argument) for argument in arguments]) == status
        printed = capfd.readouterr()
        assert printed.out == ""
        assert "Traceback" not in printed.err
        return printed.err

    return run


@pytest.mark.parametrize(
    ("words", "whole"),
    [
        (["--candidates", "-5,-6", "--top", "3"], ["--candidates=-5,-6", "--top", "3"]),
        (["--exclude", "-5,-6", "--json"], ["--exclude=-5,-6", "--json"]),
        (["--user", "-1", "--history", "-7"], ["--user=-1", "--history=-7"]),
        (["--candidate", "-a b"], ["--candidate=-a b"]),
        (["--user", "--top", "3"], ["--user", "--top", "3"]),
        (["--user", "-h"], ["--user", "-h"]),
        (["--top", "-5", "--user", "5"], ["--top", "-5", "--user", "5"]),
        ([], []),
    ],
)
def test_an_id_with_a_leading_dash_stays_with_its_option(words, whole):
    assert with_ids_taken_whole(words) == whole


def test_help_is_there_at_once():
    before = os.times()
    result = subprocess.run(
        [sys.executable, "-m", "tfx_pipeline.cli", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    after = os.times()
    for command in ("config", "run", "demo", "rank"):
        assert f"\n    {command} " in result.stdout
    # Of a core, however busy the machine is: about 0.3 s; importing TensorFlow takes 7 and more.
    assert sum(after[2:4]) - sum(before[2:4]) < 5


def test_a_good_configuration_is_ok(config_file, capsys):
    assert main(["config", "check", str(config_file), "--set", "name=kiosk"]) == 0
    assert capsys.readouterr().out == f"{config_file}: ok, pipeline 'kiosk', output {config_file.parent / 'out'}\n"


def test_a_bad_configuration_is_refused_with_all_problems(config_file, refuse):
    printed = refuse(2, "config", "check", config_file, "--set", "training.epoch=[b]", "--set", "history.max_length=0")
    assert printed.startswith(f"configuration: {config_file} has 2 problems:\n")
    # Brackets are no markup, and long lines are not broken.
    assert "\n  training.epoch: unknown key; did you mean 'epochs'?; allowed: batch_size, epochs, patience," in printed
    assert "\n  history.max_length: should be greater than or equal to 1 (given: 0)\n" in printed


@pytest.mark.parametrize("arguments", [("config", "check"), ("run", "--config"), ("demo", "--config")])
def test_a_missing_configuration_is_named(tmp_path, refuse, arguments):
    file = tmp_path / "no.yaml"
    assert (
        refuse(2, *arguments, file) == f"configuration: cannot read configuration '{file}': No such file or directory\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["walk"],
        ["config"],
        ["rank", "--model", "m", "--user", "u"],
        ["run", "--set"],
        ["score", "log", "--model", "m"],
        ["rank", "--top", "many"],
        ["retrieval"],
        ["retrieval", "evaluate", "--k", "5,0"],
        ["retrieval", "evaluate", "--split", "train"],
        ["retrieval", "compare", "--seeds", "0"],
        ["retrieval", "compare", "--k", "5,0"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2_and_says_how(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("usage: dmf ")


KEPT = "interrupted: finished steps are kept; the same command goes on from there\n"


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        *(
            (name, KEPT)
            for name in ("run", "demo", "compare", "tune", "retrieval evaluate", "retrieval compare", "encode")
        ),
        ("config check shop.yaml", "interrupted\n"),
        ("rank --model m --user u --top 3", "interrupted\n"),
    ],
)
def test_ctrl_c_promises_only_what_is_so(arguments, printed, refuse, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("tfx_pipeline.config.load_config", interrupted)
    monkeypatch.setattr("tfx_pipeline.trained.version.Version.find", interrupted)
    assert refuse(130, *arguments.split()) == printed


def test_what_nobody_foresaw_is_a_sentence_and_a_traceback_in_a_log(refuse, monkeypatch, tmp_path):
    def fails(*args, **kwargs):
        raise RuntimeError("the library says [no]\nand more")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("tfx_pipeline.trained.version.Version.find", fails)
    printed = refuse(1, "rank", "--model", "m", "--user", "u", "--top", 3)
    (log,) = tmp_path.glob("dmf-rank-*.log")
    assert printed == f"stopped: unexpected RuntimeError: the library says [no]\nlog: {log}\n"
    assert "Traceback" in log.read_text()


def test_the_log_is_a_new_file_of_a_name_that_nobody_foresees(refuse, monkeypatch, tmp_path):
    def fails(*args, **kwargs):
        raise RuntimeError("no")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("tfx_pipeline.trained.serve.serve", fails)
    for _ in range(3):
        refuse(1, "serve", tmp_path, "--name", "../shop")
    logs = sorted(tmp_path.iterdir())
    # One each, also within a second; the model's name is no part of theirs.
    assert len({re.fullmatch(r"dmf-serve-([a-z0-9_]{8})\.log", log.name)[1] for log in logs}) == 3
    assert {stat.S_IMODE(log.stat().st_mode) for log in logs} == {0o600}
    assert all(log.read_text().count("RuntimeError: no") == 1 for log in logs)


def test_a_temporary_folder_that_cannot_be_written_to_is_a_sentence(refuse, monkeypatch, tmp_path):
    def fails(*args, **kwargs):
        raise RuntimeError("no")

    monkeypatch.setattr("tfx_pipeline.trained.version.Version.find", fails)
    with monkeypatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
        printed = refuse(1, "rank", "--model", "m", "--user", "u", "--top", 3)
    assert printed.startswith("stopped: unexpected RuntimeError: no\nno log: [Errno 2] No such file or directory: ")


def test_rank_wants_candidates_or_top_but_not_both(capsys):
    with pytest.raises(SystemExit):
        main(["rank", "--model", "m", "--user", "u", "--candidates", "a", "--top", "3"])
    assert "--top: not allowed with argument --candidates" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--user", "--candidates", "--history"])
def test_an_id_that_is_not_utf8_is_shown_as_it_came(option, capsys):
    given = {"--user": "u", "--candidates": "a"} | {option: os.fsdecode(b"caf\xe9")}
    with pytest.raises(SystemExit) as stopped:
        main(["rank", "--model", "m", *(word for pair in given.items() for word in pair)])
    assert stopped.value.code == 2
    assert f"argument {option}: must be UTF-8, got b'caf\\xe9'" in capsys.readouterr().err


def test_rank_says_what_is_there_instead_of_a_model(tmp_path, refuse):
    (tmp_path / "notes.txt").touch()
    # A version that is still being pushed is none.
    (tmp_path / ".incoming-17").mkdir()
    (tmp_path / "16").mkdir()
    printed = refuse(1, "rank", "--model", tmp_path, "--user", "u", "--top", 3)
    assert printed == (
        f"stopped: {tmp_path} holds no exported model (saved_model.pb) and no versions of one; "
        "there is: .incoming-17, 16, notes.txt\n"
    )
    assert "there is: no such folder" in refuse(1, "rank", "--model", tmp_path / "no", "--user", "u", "--top", 3)


def test_rank_refuses_a_model_that_is_none_of_ours(tmp_path, refuse):
    (tmp_path / "saved_model.pb").touch()
    printed = refuse(1, "rank", "--model", tmp_path, "--user", "u", "--candidates", "a")
    assert printed == (
        f"stopped: {tmp_path} has no signature_contract.json: a SavedModel, but no ranking model of this project\n"
    )


def test_run_with_a_missing_log_stops_before_any_work(config_file, refuse):
    folder = config_file.parent
    printed = refuse(1, "run", "--config", config_file, "--summary-json", folder / "summary.json")
    assert f"stopped: data.interactions: {folder / 'log.csv'}: no such file; expected a file, a glob or " in printed
    assert f"log: {folder / 'out' / 'logs'}/run-" in printed
    assert [path.name for path in (folder / "out").iterdir()] == [".lock", "logs"]
    assert not (folder / "summary.json").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("run", "--summary-json"),
        ("demo", "--summary-json"),
        ("compare", "--json"),
        ("retrieval", "evaluate", "--json"),
        ("retrieval", "compare", "--json"),
    ],
)
def test_a_report_that_cannot_be_written_stops_before_any_work(command, tmp_path, capsys):
    (tmp_path / "notes").touch()
    for place, problem in (
        (tmp_path, f"must be a file to write, got the folder '{tmp_path}'"),
        (tmp_path / "notes" / "summary.json", f"{tmp_path / 'notes'} is no folder to write into"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main([*command, str(place)])
        assert stopped.value.code == 2
        assert problem in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["--towers", "dmf"], "--towers: 'dmf': no model of two towers 'dmf'; expected two_towers"),
        (["--reference", "popularty"], "is not among what is compared (did you mean 'popularity'?): two_towers, "),
        (["--retrievers", "contnt"], "--retrievers: unknown 'contnt'; did you mean 'content'?; allowed: "),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_retrieval_that_cannot_be_compared_is_refused_before_any_work(config_file, arguments, printed, refuse):
    assert printed in refuse(2, "retrieval", "compare", "--config", config_file, *arguments)
    assert not (config_file.parent / "out").exists()


def test_run_with_a_missing_column_names_file_and_column(config_file, refuse):
    folder = config_file.parent
    (folder / "log.csv").write_text("user_id,item_id,timestamp\nu,i,1\n")
    printed = refuse(1, "run", "--config", config_file)
    assert f"stopped: data.interactions: {folder / 'log.csv'}: no column 'label'; columns there: 'user_id', " in printed
    (folder / "log.csv").write_text("user_id,item_id,timestamp,label\nu,i,1,0\n")
    (folder / "items.csv").write_text("item_id\ni\n")
    printed = refuse(1, "run", "--config", config_file)
    assert f"{folder / 'text.npz'}" in printed
    assert [path.name for path in (folder / "out").iterdir()] == [".lock", "logs"]


def test_run_names_the_steps_where_no_cache_names_none(config_file, refuse):
    import numpy as np

    folder = config_file.parent
    (folder / "log.csv").write_text("user_id,item_id,timestamp,label\nu,i,1,0\n")
    (folder / "items.csv").write_text("item_id\ni\n")
    np.savez(folder / "text.npz", item_id=np.array(["i"]), embedding=np.ones((1, 2), np.float32))
    printed = refuse(2, "run", "--config", config_file, "--no-cache", "Trainer")
    assert "configuration: --no-cache names Trainer; the steps are: BehaviorLogExampleGen, ItemContentGen, " in printed


def test_paths_and_names_are_printed_as_they_are(config_file, capsys):
    folder = config_file.parent / "out :smile: {bold}"
    assert main(["config", "check", str(config_file), "--set", f"output={str(folder)!r}"]) == 0
    assert capsys.readouterr().out.endswith(f", output {folder}\n")


def test_a_package_that_is_not_installed_is_named_with_the_line_to_type(config_file, monkeypatch, refuse):
    monkeypatch.setitem(sys.modules, "tfx_pipeline.runners.run", None)
    monkeypatch.setattr("tfx_pipeline.cli._OWN", ("dmf_keras",))
    printed = refuse(1, "run", "--config", config_file)
    assert "dmf run needs a package that is not installed here: tfx_pipeline.runners.run; " in printed
    assert printed.endswith("pip install 'dmf-ranking[tfx]'\n")


def test_an_error_shows_control_characters_escaped(tmp_path, refuse):
    printed = refuse(2, "config", "check", tmp_path / "\x1b[2J[red] :smile:.yaml")
    assert printed == (
        f"configuration: cannot read configuration '{tmp_path}/\\x1b[2J[red] :smile:.yaml': No such file or directory\n"
    )
