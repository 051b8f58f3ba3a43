"""Versions go to a store and come back, and what was withdrawn there is not used here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import fsspec
import pytest

from tests.stores import s3_server
from tfx_pipeline.errors import DataError
from tfx_pipeline.files.mirror import ROOT_VARIABLE, mirrored
from tfx_pipeline.files.stored_versions import (
    bring_version,
    bring_versions,
    is_stored_version,
    publish_versions,
    version_exists,
)


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    with s3_server("pushed"):
        yield


@pytest.fixture
def address(server, tmp_path, monkeypatch, request) -> str:
    """Of a folder of versions that no other test has."""
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path / "stores"))
    return f"s3://pushed/{request.node.name}"


@pytest.fixture
def base(address) -> Path:
    return mirrored(address)


def make(base: Path, version: str) -> None:
    (base / version / "assets").mkdir(parents=True)
    (base / version / "saved_model.pb").write_bytes(version.encode())
    (base / version / "assets" / "_vocabulary.txt").write_bytes(b"asset")


def withdraw(address: str) -> None:
    store, path = fsspec.core.url_to_fs(address)
    store.rm(path, recursive=True)


def versions(base: Path) -> list[str]:
    return sorted(path.name for path in base.iterdir() if path.name.isdigit())


def test_what_was_made_here_is_published_once_whatever_its_number(address, base):
    bring_versions(base)
    assert publish_versions(base) == []
    make(base, "7")
    (base / "9").mkdir()
    assert publish_versions(base) == [f"{address}/7"]
    assert publish_versions(base) == []
    make(base, "6")
    assert publish_versions(base) == [f"{address}/6"]


def test_the_newest_whole_version_comes_to_another_machine(address, base, tmp_path):
    make(base, "6")
    make(base, "7")
    publish_versions(base)
    (tmp_path / "stores").rename(tmp_path / "elsewhere")
    store, path = fsspec.core.url_to_fs(f"{address}/11/assets/half")
    store.pipe(path, b"half")
    bring_versions(base)
    assert versions(base) == ["7"]
    assert (base / "7/assets/_vocabulary.txt").read_bytes() == b"asset"
    assert publish_versions(base) == []
    assert version_exists(base / "6") and version_exists(base / "7") and not version_exists(base / "11")
    assert is_stored_version(base / "6") and not is_stored_version(base)
    bring_version(base / "6")
    assert (base / "6/assets/_vocabulary.txt").read_bytes() == b"asset"


def test_what_was_withdrawn_is_neither_used_nor_published_again(address, base):
    make(base, "7")
    make(base, "8")
    publish_versions(base)
    make(base, "9")
    withdraw(f"{address}/8")
    bring_versions(base)
    # What is still to be published stays.
    assert versions(base) == ["7", "9"]
    assert publish_versions(base) == [f"{address}/9"]
    withdraw(address)
    bring_versions(base)
    assert versions(base) == []


def test_a_publication_that_failed_is_made_up_for(address, base):
    make(base, "7")
    store, _ = fsspec.core.url_to_fs(address)
    with (
        mock.patch.object(store, "put_file", side_effect=OSError("no answer")),
        pytest.raises(DataError, match="refuses or does not answer: OSError: no answer"),
    ):
        publish_versions(base)
    bring_versions(base)
    assert publish_versions(base) == [f"{address}/7"]


def test_local_versions_are_nobodys_to_publish(tmp_path):
    make(tmp_path, "7")
    assert publish_versions(tmp_path) == []
    bring_versions(tmp_path)
    bring_version(tmp_path / "8")
    assert version_exists(tmp_path / "7") and not version_exists(tmp_path / "8")
    assert not is_stored_version(tmp_path / "7")
    assert versions(tmp_path) == ["7"]
