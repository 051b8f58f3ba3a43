from __future__ import annotations

from pathlib import Path

import pytest

from tfx_pipeline.errors import DataError
from tfx_pipeline.files.manifest import check_manifest, has_manifest, manifest_of, write_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "examples[1]"
    (folder / "Split-train").mkdir(parents=True)
    (folder / "Split-train/shard.gz").write_bytes(b"0123456789")
    (folder / "schema.pbtxt").write_text("x")
    assert not has_manifest(folder)
    write_manifest(folder)
    return folder


def test_a_folder_that_nobody_touched_is_sound(folder: Path) -> None:
    assert has_manifest(folder)
    check_manifest(folder, checksums=True)
    assert sorted(path.name for path in folder.rglob("*")) == ["Split-train", "schema.pbtxt", "shard.gz"]


def test_names_and_sizes_are_always_compared(folder: Path) -> None:
    (folder / "Split-train/shard.gz").write_bytes(b"01234")
    (folder / "Split-train/stray.gz").write_bytes(b"1")
    (folder / "schema.pbtxt").unlink()
    with pytest.raises(DataError) as error:
        check_manifest(folder)
    assert str(error.value) == (
        f"{folder} has changed since it was written: Split-train/shard.gz has 5 bytes instead of 10; "
        "Split-train/stray.gz was added; schema.pbtxt is missing"
    )


def test_contents_are_compared_when_asked(folder: Path) -> None:
    (folder / "Split-train/shard.gz").write_bytes(b"012345678X")
    check_manifest(folder)
    with pytest.raises(DataError, match=r"shard\.gz has other contents"):
        check_manifest(folder, checksums=True)


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", '{"files": 3}'])
def test_a_damaged_manifest_is_damage(folder: Path, content: str) -> None:
    Path(manifest_of(folder)).write_text(content)
    with pytest.raises(DataError, match="has changed since it was written"):
        check_manifest(folder)
