from __future__ import annotations

import os
from pathlib import Path

import pytest

from tfx_pipeline.errors import DataError
from tfx_pipeline.files.listing import find_files


def _touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    return path


def _found(root: Path, address: str | Path) -> list[str]:
    return [os.path.relpath(file.path, root) for file in find_files(root / address)]


@pytest.mark.parametrize("folder", ["logs[v2]", "what?", "a*b", "[!x]", "ordinary"])
def test_a_name_is_a_name(tmp_path: Path, folder: str) -> None:
    _touch(tmp_path / folder / "a.csv")
    # What the name would match as a pattern.
    for other in ("logsv", "logs2", "whaty", "aXb", "y"):
        _touch(tmp_path / other / "b.csv")
    assert _found(tmp_path, folder) == [f"{folder}/a.csv"]
    assert _found(tmp_path, f"{folder}/a.csv") == [f"{folder}/a.csv"]
    assert _found(tmp_path, f"{folder}/*.csv") == [f"{folder}/a.csv"]


def test_patterns(tmp_path: Path) -> None:
    for name in ("day1/a.csv", "day2/deep/b.csv", "day2/_c.csv", ".day3/d.csv", "notes.txt", "day2/deep/.e.csv"):
        _touch(tmp_path / name)
    assert _found(tmp_path, "day*") == ["day1/a.csv", "day2/deep/b.csv"]
    assert _found(tmp_path, "day[12]/*.csv") == ["day1/a.csv"]
    assert _found(tmp_path, "**/*.csv") == ["day1/a.csv", "day2/deep/b.csv"]
    assert _found(tmp_path, "day2/**") == ["day2/deep/b.csv"]
    assert _found(tmp_path, "day2/_*") == ["day2/_c.csv"]
    assert [file.named for file in find_files(tmp_path / "*")] == [False, False, True]


def test_links_are_followed_and_nothing_counts_twice(tmp_path: Path) -> None:
    _touch(tmp_path / "real/b.csv")
    _touch(tmp_path / "logs/day1/a.csv")
    (tmp_path / "logs/day2").symlink_to("../real")
    (tmp_path / "logs/latest").symlink_to("day1")
    (tmp_path / "logs/day1/round").symlink_to("..")
    (tmp_path / "logs/c.csv").symlink_to("../real/b.csv")
    assert _found(tmp_path, "logs") == ["logs/c.csv", "logs/day1/a.csv"]
    (tmp_path / "logs/c.csv").unlink()
    assert _found(tmp_path, "logs") == ["logs/day1/a.csv", "logs/day2/b.csv"]
    (tmp_path / "top").symlink_to("logs")
    assert _found(tmp_path, "top/day2") == ["top/day2/b.csv"]


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file; expected a file, a glob or a directory"):
        find_files(tmp_path / "absent[1]")
    (tmp_path / "day").mkdir()
    with pytest.raises(DataError, match="no such file"):
        find_files(tmp_path / "day")
    (tmp_path / "day/gone.csv").symlink_to("nowhere")
    with pytest.raises(DataError, match=r"gone\.csv: the link leads to .*nowhere, which is not there"):
        find_files(tmp_path / "day")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(DataError, match=r"pipe\.csv: is neither a file nor a folder"):
        find_files(tmp_path / "pipe.csv")
    with pytest.raises(DataError, match="is the root of the file system"):
        find_files("/")
    with pytest.raises(DataError, match="is neither a file nor a folder"):
        find_files("/dev/zero")
    with pytest.raises(DataError, match="no such file"):
        find_files("/" + "long/" * 2000)
    with pytest.raises(DataError, match="on an object store"):
        find_files("s3://bucket/log.csv")


def test_sizes_and_times(tmp_path: Path) -> None:
    [found] = find_files(_touch(tmp_path / "a.csv"))
    status = (tmp_path / "a.csv").stat()
    assert (found.size, found.modified) == (status.st_size, status.st_mtime)
