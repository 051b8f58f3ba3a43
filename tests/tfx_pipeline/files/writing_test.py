"""Files and folders that appear whole, whatever kills, full disks, errors and others who write at the same time do."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tfx_pipeline.files.writing import (
    recover,
    remove,
    remove_unfinished,
    write_bytes,
    write_json,
    write_text,
    writing,
    writing_folder,
)

NAMES = ["plain.txt", "two words", "[a-z]*?.txt", "Größe 尺寸.txt", "-rf", "a.tar.gz"]


def names(folder: Path) -> list[str]:
    """Everything in a folder, hidden entries too."""
    return sorted(path.name for path in folder.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def in_another_process(program: str, *arguments: object) -> int:
    """Runs a program that may kill itself, and returns its exit status."""
    head = "import os, resource, signal, sys\nfrom pathlib import Path\nfrom tfx_pipeline.files import writing\n"
    head += "def die(*arguments):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    command = [sys.executable, "-c", head + program, *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, timeout=120).returncode


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    file = tmp_path / "new" / "values.json"
    write_json(file, {"a": float("nan"), "b": [1.5]})
    assert json.loads(file.read_text(encoding="utf-8")) == {"a": None, "b": [1.5]}
    with pytest.raises(TypeError):
        write_json(file, {"a": object()})
    assert json.loads(file.read_text(encoding="utf-8")) == {"a": None, "b": [1.5]}
    write_json(file, {})
    assert [path.name for path in file.parent.iterdir()] == ["values.json"]
    assert file.read_text(encoding="utf-8") == "{}\n"


@pytest.mark.parametrize("name", NAMES)
def test_names_are_taken_literally(name, tmp_path):
    write_bytes(tmp_path / name, b"old")
    write_bytes(str(tmp_path / name), b"new")
    assert (tmp_path / name).read_bytes() == b"new"
    assert names(tmp_path) == [name]
    with writing_folder(tmp_path / "folders" / name) as folder:
        (folder / name).touch()
    assert names(tmp_path / "folders" / name) == [name]
    # A neighbour whose name ends alike keeps what it is writing.
    with writing(tmp_path / f"my-{name}") as file:
        file.touch()
        recover(tmp_path / name)
    assert names(tmp_path) == sorted([name, f"my-{name}", "folders"])


def test_any_library_can_write(tmp_path):
    with writing(tmp_path / "rows.npz") as file:
        # NumPy adds the ending to names without it, and others go by it.
        assert file.name.endswith("rows.npz")
        assert file.name.startswith(".")
        np.savez(file, a=np.arange(3))
        assert not (tmp_path / "rows.npz").exists()
    with np.load(tmp_path / "rows.npz") as arrays:
        assert arrays["a"].tolist() == [0, 1, 2]
    assert names(tmp_path) == ["rows.npz"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_the_old_and_no_litter(error, tmp_path):
    write_text(tmp_path / "file", "old")
    with writing_folder(tmp_path / "folder") as folder:
        (folder / "a").write_text("old")

    def fail(file: Path) -> None:
        file.write_text("half")
        raise error

    with pytest.raises(error), writing(tmp_path / "file") as file:
        fail(file)
    for replace in (False, True):
        with pytest.raises(error), writing_folder(tmp_path / "folder", replace=replace) as folder:
            fail(folder / "a")
    with pytest.raises(error), writing_folder(tmp_path / "new") as folder:
        fail(folder / "a")
    assert (tmp_path / "file").read_text() == (tmp_path / "folder" / "a").read_text() == "old"
    assert names(tmp_path) == ["file", "folder"]


def test_a_block_that_leaves_no_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), writing(tmp_path / "file"):
        pass
    assert names(tmp_path) == []


def test_a_folder_where_a_file_should_be_is_an_error(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(IsADirectoryError):
        write_text(tmp_path / "file", "text")
    assert names(tmp_path) == ["file"]


def test_a_kill_while_a_file_is_written_leaves_the_old_one(tmp_path):
    write_text(tmp_path / "file", "old")
    program = "with writing.writing(sys.argv[1]) as file:\n    file.write_text('half')\n    die()"
    assert in_another_process(program, tmp_path / "file") == -signal.SIGKILL
    assert (tmp_path / "file").read_text() == "old"
    (unfinished,) = [name for name in names(tmp_path) if name != "file"]
    assert unfinished.startswith(".incoming-")
    recover(tmp_path / "other")
    assert names(tmp_path) == [unfinished, "file"]
    recover(tmp_path / "file")
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize(
    ("step", "found"),
    [("die()", "old"), ("os.rename = die", "old"), ("writing.shutil.rmtree = die", "new")],
    ids=["while it is filled", "before it is published", "before the old one is removed"],
)
def test_a_kill_while_a_folder_is_replaced_leaves_one_whole(step, found, tmp_path):
    target = tmp_path / "folder"
    with writing_folder(target) as folder:
        (folder / "a").write_text("old")
    program = (
        "with writing.writing_folder(sys.argv[1], replace=True) as folder:\n"
        f"    (folder / 'a').write_text('new')\n    {step}"
    )
    assert in_another_process(program, target) == -signal.SIGKILL
    recover(target)
    assert (target / "a").read_text() == found
    assert names(tmp_path) == ["folder"]


def test_a_kill_between_the_two_renames_of_a_replacement_brings_the_old_folder_back(tmp_path):
    target = tmp_path / "folder"
    with writing_folder(target) as folder:
        (folder / "a").write_text("old")
    program = (
        "rename = os.rename\n"
        "def once(*arguments):\n    rename(*arguments)\n    die()\n"
        "with writing.writing_folder(sys.argv[1], replace=True) as folder:\n    os.rename = once"
    )
    assert in_another_process(program, target) == -signal.SIGKILL
    assert not target.exists()
    recover(target)
    assert (target / "a").read_text() == "old"
    assert names(tmp_path) == ["folder"]


def test_a_replacement_that_cannot_be_published_puts_the_old_folder_back(tmp_path, monkeypatch):
    target, rename = tmp_path / "folder", os.rename
    with writing_folder(target) as folder:
        (folder / "a").write_text("old")

    def refuse_new(source: Path, destination: Path) -> None:
        if source.name.startswith(".incoming-"):
            raise OSError("no space left on device")
        rename(source, destination)

    monkeypatch.setattr(os, "rename", refuse_new)
    with pytest.raises(OSError, match="no space"), writing_folder(target, replace=True):
        pass
    assert (target / "a").read_text() == "old"
    assert names(tmp_path) == ["folder"]


@pytest.mark.parametrize(
    "body",
    [
        "writing.write_bytes(sys.argv[1], b'x' * 9000)",
        "with writing.writing(sys.argv[1]) as file:\n        file.write_bytes(b'x' * 9000)",
        "with writing.writing_folder(sys.argv[2]) as folder:\n        (folder / 'a').write_bytes(b'x' * 9000)",
    ],
    ids=["write_bytes", "writing", "writing_folder"],
)
def test_a_full_disk_leaves_the_old_and_no_litter(body, tmp_path):
    write_text(tmp_path / "file", "old")
    program = (
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        f"try:\n    {body}\nexcept OSError as error:\n    sys.exit(error.errno)"
    )
    assert in_another_process(program, tmp_path / "file", tmp_path / "folder") == errno.EFBIG
    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_folders_are_published_whole_and_never_over_another(tmp_path):
    target = tmp_path / "deep" / "er" / "folder"
    with writing_folder(target) as folder:
        assert list(folder.iterdir()) == []
        (folder / "a").write_text("first")
        assert not target.exists()
    with pytest.raises(OSError, match="not empty"), writing_folder(target) as folder:
        (folder / "b").touch()
    assert names(target) == ["a"]
    assert names(target.parent) == ["folder"]


def test_an_empty_folder_is_filled(tmp_path):
    with writing_folder(tmp_path) as folder:
        (folder / "a").touch()
    assert names(tmp_path) == ["a"]


def test_a_replaced_folder_keeps_nothing_of_the_one_before(tmp_path):
    for name in ("a", "b"):
        with writing_folder(tmp_path / "folder", replace=True) as folder:
            (folder / name / "below").mkdir(parents=True)
    assert names(tmp_path / "folder") == ["b"]
    assert names(tmp_path) == ["folder"]


def test_others_may_read_as_far_as_the_umask_lets_them(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "file", "text")
        with writing_folder(tmp_path / "folder") as folder:
            (folder / "a").touch()
    finally:
        os.umask(before)
    assert (mode(tmp_path / "file"), mode(tmp_path / "folder"), mode(tmp_path / "folder" / "a")) == (
        0o640,
        0o750,
        0o640,
    )


def test_a_folder_that_may_not_be_written_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        write_text(tmp_path / "file" / "below" / "a", "text")
    with pytest.raises(FileExistsError):
        write_text(tmp_path / "file" / "a", "text")


def test_many_may_write_one_file_at_once(tmp_path):
    contents = [str(number) * 100_000 for number in range(8)]

    def write(text: str) -> set[str]:
        seen = set()
        for _ in range(20):
            write_text(tmp_path / "file", text)
            seen.add((tmp_path / "file").read_text())
        return seen

    with ThreadPoolExecutor(8) as pool:
        seen = set().union(*pool.map(write, contents))
    assert seen <= set(contents)
    assert names(tmp_path) == ["file"]


def test_a_link_is_replaced_and_what_it_points_to_stays(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    remove(tmp_path / "link")
    assert names(tmp_path) == ["elsewhere"]
    assert names(tmp_path / "elsewhere") == ["a"]


def test_what_is_not_there_is_removed_without_a_word(tmp_path):
    remove(tmp_path / "absent")
    remove(tmp_path / "absent" / "below")
    recover(tmp_path / "absent" / "below")
    remove_unfinished(tmp_path / "absent")
    assert names(tmp_path) == []


def test_unfinished_work_is_cleared_and_nothing_else(tmp_path):
    for name in (".incoming-0123abcd-a.h5", ".hidden", "a.h5", "incoming"):
        (tmp_path / name).touch()
    (tmp_path / ".incoming-0123abcd-folder" / "below").mkdir(parents=True)
    remove_unfinished(tmp_path)
    assert names(tmp_path) == [".hidden", "a.h5", "incoming"]
