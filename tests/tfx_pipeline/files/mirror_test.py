"""What lies on a store is here when it is read, and as it is there now."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import fsspec
import pytest

from tests.stores import gs_server, s3_server
from tfx_pipeline.errors import DataError
from tfx_pipeline.files import mirror
from tfx_pipeline.files.listing import find_files
from tfx_pipeline.files.mirror import ROOT_VARIABLE, address_of, bring, bring_newest, mirrored, publish_new


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


def test_a_file_of_the_same_size_that_was_written_again_is_fetched(logs):
    put(f"{logs}/a.csv", b"1")
    assert found(logs) == {"a.csv": b"1"}
    (file,) = find_files(mirrored(logs))
    real = mirror._written
    put(f"{logs}/a.csv", b"2")
    with mock.patch.object(mirror, "_written", lambda info: real(info) + 5):
        assert found(logs) == {"a.csv": b"2"}
    assert Path(file.path).stat().st_mtime == pytest.approx(file.modified + 5, abs=2)


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
    put(f"{logs}/odd[1].csv", b"odd")
    assert found(logs, "odd[1].csv") == {"odd[1].csv": b"odd"}


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


def whole_version(base: Path, version: str) -> None:
    (base / version).mkdir(parents=True)
    (base / version / "saved_model.pb").write_bytes(version.encode())
    (base / version / "assets.txt").write_bytes(b"asset")


def test_versions_go_to_the_store_and_the_newest_comes_back(logs, here):
    base = mirrored(logs)
    bring_newest(base)
    assert publish_new(base) == []
    whole_version(base, "7")
    (base / "9").mkdir()
    assert publish_new(base) == [f"{logs}/7"]
    assert publish_new(base) == []
    # Another machine, which knows nothing yet; a version that is half there is passed over.
    put(f"{logs}/11/assets.txt", b"half")
    here.rename(here.with_name("elsewhere"))
    bring_newest(base)
    assert sorted(path.name for path in base.iterdir()) == ["7"]
    assert (base / "7/assets.txt").read_bytes() == b"asset"
    whole_version(base, "6")
    whole_version(base, "12")
    assert publish_new(base) == [f"{logs}/12"]


def test_a_publication_that_failed_is_made_up_for(logs):
    base = mirrored(logs)
    whole_version(base, "7")
    store, _ = fsspec.core.url_to_fs(logs)
    with (
        mock.patch.object(store, "put_file", side_effect=OSError("no answer")),
        pytest.raises(DataError, match="refuses or does not answer: OSError: no answer"),
    ):
        publish_new(base)
    assert publish_new(base) == [f"{logs}/7"]


def test_local_versions_are_nobodys_to_publish(tmp_path):
    whole_version(tmp_path, "7")
    assert publish_new(tmp_path) == []
    bring_newest(tmp_path)
