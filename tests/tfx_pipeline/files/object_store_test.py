"""A store's files come and go as they are, and what fails is a sentence with the address."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import fsspec
import pytest
import s3fs

from tests.stores import forget_stores, gs_server, s3_server
from tfx_pipeline.errors import DataError
from tfx_pipeline.files.object_store import fetch, names_in, publish


@pytest.fixture(scope="module", params=["s3", "gs", "memory"])
def base(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "memory":
        yield "memory://bucket"
        return
    server = {"s3": s3_server, "gs": gs_server}[request.param]
    with server("bucket"):
        yield f"{request.param}://bucket"


def test_a_folder_comes_back_as_it_went_and_its_marker_goes_last(base, tmp_path):
    version = tmp_path / "7"
    (version / "assets").mkdir(parents=True)
    contents = {"saved_model.pb": b"model", "assets/items": b"\x00\xff", "zz": b"after"}
    for name, content in contents.items():
        (version / name).write_bytes(content)
    store, _ = fsspec.core.url_to_fs(base)
    put, order = store.put_file, []
    with mock.patch.object(store, "put_file", lambda file, path: (order.append(Path(path).name), put(file, path))):
        publish(version, f"{base}/models/7", last="saved_model.pb")
    assert order[-1] == "saved_model.pb"
    assert sorted(order) == ["items", "saved_model.pb", "zz"]
    fetch(f"{base}/models/7", tmp_path / "back")
    found = {
        str(file.relative_to(tmp_path / "back")): file for file in (tmp_path / "back").rglob("*") if file.is_file()
    }
    assert {name: file.read_bytes() for name, file in found.items()} == contents
    assert names_in(f"{base}/models") == ["7"]
    assert names_in(f"{base}/models/7") == ["assets", "saved_model.pb", "zz"]


def test_a_file_and_a_pattern(base, tmp_path):
    store, path = fsspec.core.url_to_fs(f"{base}/logs")
    for name in ("a.csv", "b.csv", "c.txt"):
        store.pipe(f"{path}/{name}", name.encode())
    fetch(f"{base}/logs/a.csv", tmp_path / "one" / "a.csv")
    assert (tmp_path / "one" / "a.csv").read_text() == "a.csv"
    fetch(f"{base}/logs/*.csv", tmp_path / "some" / "*.csv")
    assert sorted(file.name for file in (tmp_path / "some").iterdir()) == ["a.csv", "b.csv"]


def test_names_are_those_of_now(base, tmp_path):
    assert names_in(f"{base}/growing") == []
    (tmp_path / "saved_model.pb").write_text("")
    for version in ("1", "2"):
        publish(tmp_path, f"{base}/growing/{version}", last="saved_model.pb")
    assert names_in(f"{base}/growing") == ["1", "2"]


@pytest.mark.parametrize("path", ["nothing", "nothing/*.csv"])
def test_what_is_not_there_is_said_with_its_address(base, tmp_path, path):
    with pytest.raises(DataError, match=rf"{base}/{path}: nothing is there".replace("*", r"\*")):
        fetch(f"{base}/{path}", tmp_path / "x")


@pytest.mark.parametrize(("protocol", "server"), [("s3", s3_server), ("gs", gs_server)])
def test_a_bucket_that_is_not_there(protocol, server, tmp_path):
    with server("bucket"), pytest.raises(DataError, match=f"{protocol}://other/logs: "):
        fetch(f"{protocol}://other/logs", tmp_path / "x")


def test_a_store_that_does_not_answer(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    # Its libraries wait longer before each of their attempts.
    address = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_MAX_ATTEMPTS": "1"}
    with mock.patch.dict(os.environ, keys | address), mock.patch.object(s3fs.S3FileSystem, "retries", 1):
        forget_stores()
        with pytest.raises(DataError, match=r"s3://bucket/logs: the store 's3' refuses or does not answer.*endpoint"):
            fetch("s3://bucket/logs", tmp_path / "x")
    forget_stores()


def test_a_store_whose_library_is_missing(tmp_path):
    with (
        mock.patch.dict("sys.modules", {"adlfs": None}),
        pytest.raises(DataError, match=r"abfs://box/logs: this store needs a package .*dmf-ranking\[stores\]"),
    ):
        fetch("abfs://box/logs", tmp_path / "x")
