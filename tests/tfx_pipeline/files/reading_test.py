"""Addresses, what lies there, and that importing the room costs nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tfx_pipeline.errors import DataError
from tfx_pipeline.files.addresses import join, local, parent
from tfx_pipeline.files.reading import exists, list_files, list_names, read_bytes, read_json, read_lines, read_text
from tfx_pipeline.files.writing import write_lines, write_text

NAMES = ["plain.txt", "two words.txt", "[a-z]*?.txt", "Größe 尺寸.txt", "100%.txt", "key=value.txt"]


def test_addresses_are_joined_and_taken_apart_without_touching_their_scheme():
    assert join("gs://bucket/run", "report.json") == "gs://bucket/run/report.json"
    assert join(Path("/runs"), "a", "b") == "/runs/a/b"
    assert parent("gs://bucket/run/report.json") == "gs://bucket/run"
    assert parent(parent(Path("/runs/a/b"))) == "/runs"
    assert (parent("/runs/a/"), parent("/runs"), parent("runs")) == ("/runs", "/", ".")


@pytest.mark.parametrize("address", ["gs://bucket/run", "s3://bucket/run", Path("gs://bucket/run"), "abfs+ssl://x"])
def test_an_object_store_is_refused_and_no_folder_is_made_of_it(address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for use in (lambda: local(address), lambda: read_text(address), lambda: write_text(address, "text")):
        with pytest.raises(DataError, match=r"is on an object store; .* mount the store"):
            use()
    assert list(tmp_path.iterdir()) == []


def test_a_local_name_may_hold_a_colon(tmp_path):
    write_text(tmp_path / "gs:" / "a:b.txt", "text")
    assert read_text(tmp_path / "gs:" / "a:b.txt") == "text"
    assert local("c:/windows") == Path("c:/windows")


@pytest.mark.parametrize("name", NAMES)
def test_names_are_taken_literally(name, tmp_path):
    folder = join(tmp_path, f"folder {name}")
    assert not exists(folder)
    write_text(join(folder, name), "text")
    assert exists(folder)
    assert exists(join(folder, name))
    assert read_text(join(folder, name)) == "text"
    assert list_files(folder) == [join(folder, name)]


def test_folders_are_listed_sorted_and_without_what_is_hidden(tmp_path):
    for name in ("b.gz", "a.gz", ".incoming-0123abcd-c.gz", ".hidden.gz", "notes.txt", "x.gz.tmp"):
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    assert list_names(tmp_path) == ["a.gz", "b.gz", "folder", "notes.txt", "x.gz.tmp"]
    assert list_files(tmp_path, ".gz") == [join(tmp_path, "a.gz"), join(tmp_path, "b.gz")]
    assert list_files(tmp_path, "*") == []
    assert list_files(tmp_path / "absent") == []


def test_only_a_newline_ends_a_line(tmp_path):
    lines = ["one", "", "two\u2028still two", "three\r", "\x85\x0b\x0c", "Ä"]
    write_lines(tmp_path / "lines", lines)
    assert read_lines(tmp_path / "lines") == lines
    assert read_bytes(tmp_path / "lines").count(b"\n") == len(lines)
    write_lines(tmp_path / "lines", [])
    assert read_lines(tmp_path / "lines") == []


def test_text_comes_back_as_it_was(tmp_path):
    text = "\ufeffmixed\r\nends\rand\nö 尺"
    write_text(tmp_path / "text", text)
    assert read_text(tmp_path / "text") == text
    write_text(tmp_path / "text", '{"a": [1, null]}')
    assert read_json(tmp_path / "text") == {"a": [1, None]}
    with pytest.raises(FileNotFoundError, match="absent"):
        read_json(tmp_path / "absent")


def test_the_room_is_light():
    program = (
        "import sys, tfx_pipeline.files.reading, tfx_pipeline.files.writing, tfx_pipeline.files.json_values\n"
        "print(*({'tensorflow', 'keras', 'apache_beam', 'tfx', 'pandas', 'pyarrow', 'numpy'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert run.stdout.split() == []
