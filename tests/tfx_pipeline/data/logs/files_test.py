from __future__ import annotations

import os
from pathlib import Path

import pytest

from tfx_pipeline.config.tables import Table
from tfx_pipeline.data.logs.files import fingerprint, format_of, list_files
from tfx_pipeline.errors import DataError


def _touch(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_directory_means_every_known_file_below_it(tmp_path: Path) -> None:
    for name in ("b.csv", "sub/a.jsonl", "sub/deep/c.parquet", "_SUCCESS", "notes.txt", ".hidden/d.csv", "sub/_e.csv"):
        _touch(tmp_path / name)
    files = list_files(Table(path=tmp_path))
    assert [(f.ordinal, os.path.relpath(f.path, tmp_path), f.format) for f in files] == [
        (0, "b.csv", "csv"),
        (1, "sub/a.jsonl", "jsonl"),
        (2, "sub/deep/c.parquet", "parquet"),
    ]


def test_format_narrows_a_directory(tmp_path: Path) -> None:
    _touch(tmp_path / "a.csv")
    _touch(tmp_path / "b.jsonl")
    assert [f.format for f in list_files(Table(path=tmp_path, format="jsonl"))] == ["jsonl"]


def test_glob_and_names_that_look_like_globs(tmp_path: Path) -> None:
    for name in ("log-2.csv", "log-1.csv", "other.csv", "log[1].csv"):
        _touch(tmp_path / name)
    names = [Path(f.path).name for f in list_files(Table(path=tmp_path / "log-*.csv"))]
    assert names == ["log-1.csv", "log-2.csv"]
    assert [Path(f.path).name for f in list_files(Table(path=tmp_path / "log[1].csv"))] == ["log[1].csv"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", "csv"),
        ("a.TSV", "csv"),
        ("a.csv.gz", "csv"),
        ("a.jsonl.zst", "jsonl"),
        ("a.pq", "parquet"),
        ("a.parquet.gz", None),
        ("a.txt", None),
    ],
)
def test_format_by_ending(name: str, expected: str | None) -> None:
    assert format_of(f"/some/where/{name}") == expected


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing_here\.csv: no such file"):
        list_files(Table(path=tmp_path / "nothing_here.csv"))
    with pytest.raises(DataError, match=r"\*\.csv: no such file"):
        list_files(Table(path=tmp_path / "*.csv"))


def test_unknown_format_says_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"log\.inter: unknown format.*parquet, csv, jsonl"):
        list_files(Table(path=_touch(tmp_path / "log.inter")))
    assert list_files(Table(path=tmp_path / "log.inter", format="csv"))[0].format == "csv"


def test_directory_without_data_says_what_it_holds(tmp_path: Path) -> None:
    _touch(tmp_path / "readme.txt")
    with pytest.raises(DataError, match=r"no parquet/csv/jsonl file in this directory; it holds readme\.txt"):
        list_files(Table(path=tmp_path))


def test_fingerprint_follows_files_size_and_time(tmp_path: Path) -> None:
    first, second = _touch(tmp_path / "a.csv"), _touch(tmp_path / "b.csv")
    seen = [fingerprint([tmp_path])]
    assert fingerprint([second, first]) == fingerprint([first, second])
    assert fingerprint([tmp_path]) == seen[0]

    first.write_text("longer")
    seen.append(fingerprint([tmp_path]))
    os.utime(second, (1, 1))
    seen.append(fingerprint([tmp_path]))
    _touch(tmp_path / "c.csv")
    seen.append(fingerprint([tmp_path]))
    second.unlink()
    seen.append(fingerprint([tmp_path]))
    assert len(set(seen)) == 5
    with pytest.raises(DataError, match="no such file"):
        fingerprint([tmp_path / "absent"])
