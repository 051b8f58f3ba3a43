"""Pushed versions and the manifest in them: what is compared when one is loaded, and when it is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from serving import contract
from serving.manifest import ChangedFiles, check_version, describe


@pytest.fixture
def version(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / contract.EXTRA_ASSETS).mkdir()
    (tmp_path / "assets/item_ids.txt").write_text("a\nb\n")
    (tmp_path / "saved_model.pb").write_bytes(b"graph")
    (tmp_path / contract.MANIFEST_FILE).write_text(json.dumps(describe(tmp_path)))
    return tmp_path


def test_one_that_nobody_touched_is_sound_and_so_is_one_with_a_file_more(version: Path) -> None:
    (version / "README").write_text("ours")
    check_version(version, checksums=True)


def test_one_without_a_manifest_is_taken_as_it_is(version: Path) -> None:
    (version / contract.MANIFEST_FILE).unlink()
    (version / "saved_model.pb").unlink()
    check_version(version, checksums=True)


def test_missing_files_and_sizes_are_always_compared_and_contents_when_asked(version: Path) -> None:
    (version / "assets/item_ids.txt").write_text("a\nc\n")
    check_version(version)
    with pytest.raises(ChangedFiles, match=r"assets/item_ids\.txt has other contents"):
        check_version(version, checksums=True)
    (version / "assets/item_ids.txt").write_text("a\n")
    with pytest.raises(ChangedFiles, match=r"assets/item_ids\.txt has 2 bytes instead of 4"):
        check_version(version)
    (version / "assets/item_ids.txt").unlink()
    with pytest.raises(ChangedFiles, match=r"assets/item_ids\.txt is missing"):
        check_version(version)


@pytest.mark.parametrize(
    "content", ["", "[]", '{"files": 3}', '{"files": {"a": {}}}', '{"files": {"a": {"bytes": "x"}}}']
)
def test_a_damaged_manifest_is_damage(content: str, version: Path) -> None:
    (version / contract.MANIFEST_FILE).write_text(content)
    with pytest.raises(ChangedFiles, match=r"manifest\.json cannot be read"):
        check_version(version)
