"""What lies on a store is here when it is read, and as it is there now."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import fsspec
import pytest

from tests.stores import gs_server, s3_server
from tfx_pipeline.errors import DataError
from tfx_pipeline.files.listing import find_files
from tfx_pipeline.files.mirror import ROOT_VARIABLE, address_of, bring, mirrored


@pytest.fixture(scope="module", params=["s3", "gs"])
def base(request: pytest.FixtureRequest) -> Iterator[str]:
    with {"s3": s3_server, "gs": gs_server}[request.param]("bucket"):
        yield f"{request.param}://bucket"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path / "stores"))
    return tmp_path / "stores"


@pytest.fixture
def logs(base, request) -> str:
    """An address that no other test has."""
    return f"{base}/{request.node.name.partition('[')[0]}"


def put(address: str, content: bytes) -> None:
    store, path = fsspec.core.url_to_fs(address)
    store.pipe(path, content)


def take(address: str) -> None:
    store, path = fsspec.core.url_to_fs(address)
    store.rm(path)


def found(logs: str, pattern: str = "") -> dict[str, bytes]:
    """What whoever reads the folder, or something in it, finds."""
    files = find_files(mirrored(f"{logs}/{pattern}"))
    return {str(Path(file.path).relative_to(mirrored(logs))): Path(file.path).read_bytes() for file in files}


def test_a_folder_is_what_the_store_has_now(logs, capsys):
    for name in ("a.csv", "day=1/b.csv", "_SUCCESS", "day=1/.b.crc"):
        put(f"{logs}/{name}", name.encode())
    assert found(logs) == {"a.csv": b"a.csv", "day=1/b.csv": b"day=1/b.csv"}
    assert f"fetched 2 of 2 files of {logs}" in capsys.readouterr().err
    put(f"{logs}/a.csv", b"longer than before")
    put(f"{logs}/day=2/c.csv", b"c")
    take(f"{logs}/day=1/b.csv")
    assert found(logs) == {"a.csv": b"longer than before", "day=2/c.csv": b"c"}
    assert f"fetched 2 of 2 files of {logs}" in capsys.readouterr().err
    # What did not change is not fetched again, and has its time: runs of the pipeline go by it.
    times = [file.modified for file in find_files(mirrored(logs))]
    assert found(logs) and "fetched" not in capsys.readouterr().err
    assert times == [file.modified for file in find_files(mirrored(logs))]


def test_a_file_that_was_written_again_within_the_second_is_fetched(logs):
    for content in (b"1", b"2", b"3"):
        put(f"{logs}/a.csv", content)
        assert found(logs) == {"a.csv": content}


def test_objects_that_stand_for_folders_are_no_files(logs):
    if not logs.startswith("s3"):
        pytest.skip("the emulator of gs:// takes a name without its last slash")
    store, path = fsspec.core.url_to_fs(logs)
    bucket, _, folder = path.partition("/")
    for name in (f"{folder}/", f"{folder}/day=1/"):
        store.call_s3("put_object", Bucket=bucket, Key=name, Body=b"")
    put(f"{logs}/day=1/a.csv", b"day=1/a.csv")
    for pattern in ("", "day=1", "**/*.csv", "day=*"):
        assert found(logs, pattern) == {"day=1/a.csv": b"day=1/a.csv"}


def test_a_file_becomes_a_folder_of_its_name_and_a_file_again(logs):
    put(f"{logs}/part", b"file")
    assert found(logs) == {"part": b"file"}
    take(f"{logs}/part")
    put(f"{logs}/part/0.csv", b"folder")
    assert found(logs) == {"part/0.csv": b"folder"}
    take(f"{logs}/part/0.csv")
    put(f"{logs}/part", b"file")
    assert found(logs) == {"part": b"file"}


def test_one_file_and_globs(logs, here):
    for name in ("a.csv", "b.csv", "c.txt", "day=1/d.csv", "day=2/deep/e.csv"):
        put(f"{logs}/{name}", name.encode())
    assert [file.path for file in find_files(mirrored(f"{logs}/a.csv"))] == [str(mirrored(f"{logs}/a.csv"))]
    assert sorted(found(logs, "*.csv")) == ["a.csv", "b.csv"]
    assert not mirrored(f"{logs}/c.txt").exists()
    assert sorted(found(logs, "day=*")) == ["day=1/d.csv", "day=2/deep/e.csv"]
    assert sorted(found(logs, "**/*.csv")) == ["a.csv", "b.csv", "day=1/d.csv", "day=2/deep/e.csv"]
    take(f"{logs}/b.csv")
    assert sorted(found(logs, "*.csv")) == ["a.csv"]
    for name in ("odd[1].csv", "dir[1]/a.csv", "_tmp/b.csv", "day=3/_tmp/c.csv", "_named/d.csv"):
        put(f"{logs}/{name}", b"odd")
    assert found(logs, "odd[1].csv") == {"odd[1].csv": b"odd"}
    assert found(logs, "dir[1]") == {"dir[1]/a.csv": b"odd"}
    assert sorted(found(logs, "_*")) == ["_named/d.csv", "_tmp/b.csv"]
    assert "day=3/_tmp/c.csv" not in found(logs, "day=*") and "_tmp/b.csv" not in found(logs, "*")
    assert not mirrored(f"{logs}/day=3/_tmp/c.csv").exists()


def test_nothing_there_is_a_sentence_with_the_address(logs):
    for address in (logs, f"{logs}/a.csv", f"{logs}/*.csv"):
        with pytest.raises(DataError, match="nothing is there") as refused:
            find_files(mirrored(address))
        assert str(refused.value).startswith(f"{address}: ")


def test_a_name_that_leads_out_of_the_folder_is_refused(logs, here):
    store, path = fsspec.core.url_to_fs(logs)
    name = f"{path}/../../../evil.csv"
    listed = {name: {"name": name, "type": "file", "size": 4, "LastModified": 1.0}}
    with (
        mock.patch.object(store, "find", return_value=listed),
        pytest.raises(DataError, match=r"leads out of its folder; rename it"),
    ):
        bring(mirrored(logs))
    assert not list(here.parent.rglob("evil.csv"))


def test_a_file_that_changes_while_it_is_fetched_is_refused_and_leaves_nothing(logs):
    put(f"{logs}/a.csv", b"whole")
    store, _ = fsspec.core.url_to_fs(logs)

    def half(name, target):
        Path(target).write_bytes(b"wh")

    with mock.patch.object(store, "get_file", half), pytest.raises(DataError, match=r"a\.csv: it changed while"):
        bring(mirrored(logs))
    assert not [file for file in mirrored(logs).rglob("*") if file.is_file()]


def test_an_address_is_known_again_by_its_path(here, tmp_path):
    for address in ("s3://bucket/logs/day=1/*.parquet", "gs://bucket/items.csv"):
        assert address_of(mirrored(address)) == address
        # As a path has it.
        assert mirrored(Path(address)) == mirrored(address)
    assert mirrored("s3://bucket/logs/") == here / "s3/bucket/logs"
    assert address_of(tmp_path / "items.csv") is None
    assert mirrored("logs/items.csv") == Path("logs/items.csv")
    bring(tmp_path / "nowhere")


def test_an_address_that_leads_elsewhere_or_has_no_home_is_refused(monkeypatch):
    for address in ("s3://bucket/../../etc/x.csv", "gs://bucket/a/../b"):
        with pytest.raises(DataError, match="leads out of its folder"):
            mirrored(address)
    monkeypatch.delenv(ROOT_VARIABLE)
    with mock.patch("pathlib.Path.home", side_effect=RuntimeError):
        with pytest.raises(DataError, match="set DMF_STORES to a folder"):
            mirrored("s3://bucket/a")
        # Nothing of a local path needs one.
        assert address_of("/data/items.csv") is None
