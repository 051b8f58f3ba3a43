"""Facts about a model that are read from its folder and from the checkout, without loading anything."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from serving import contract
from serving.export.metadata import git_revision, library_versions, read_json, saved_model_sizes, write_json


@pytest.fixture
def checkout(tmp_path):
    """A git checkout with one commit."""
    if shutil.which("git") is None:
        pytest.skip("git is not on this machine")
    (tmp_path / "code.py").write_text("x = 1\n")
    for arguments in (
        ["init", "-q"],
        ["add", "code.py"],
        ["-c", "user.name=n", "-c", "user.email=e@example.com", "-c", "commit.gpgsign=false", "commit", "-qm", "first"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True)
    return tmp_path


def test_revision_and_changes_of_a_checkout(checkout):
    commit = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert git_revision(checkout) == {"revision": commit, "dirty": False}
    (checkout / "code.py").write_text("x = 2\n")
    assert git_revision(checkout) == {"revision": commit, "dirty": True}


def test_no_checkout_has_no_revision(checkout, tmp_path_factory, monkeypatch):
    # A folder inside a checkout is not one: its revision would be that of something else.
    (checkout / "site-packages").mkdir()
    assert git_revision(checkout / "site-packages") is None
    assert git_revision(tmp_path_factory.mktemp("elsewhere")) is None
    monkeypatch.setenv("PATH", "")
    assert git_revision(checkout) is None


def test_a_checkout_without_a_commit_has_no_revision(tmp_path):
    if shutil.which("git") is None:
        pytest.skip("git is not on this machine")
    subprocess.run(["git", "-C", str(tmp_path), "init", "-q"], check=True)
    assert git_revision(tmp_path) is None


def test_versions_name_what_is_installed():
    versions = library_versions()
    assert versions["tensorflow"].startswith("2.")
    assert versions["keras"].startswith("3.")
    assert versions["python"].startswith("3.11")


def test_sizes_are_those_of_the_files(tmp_path):
    for file, size in (("saved_model.pb", 5), ("variables/variables.index", 3), ("assets/items", 2), ("note", 1)):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(b"x" * size)
    write_json(tmp_path, contract.METADATA_FILE, {"seed": 1})
    extra = (tmp_path / contract.METADATA_FILE).stat().st_size
    assert saved_model_sizes(tmp_path) == {
        "graph": 5,
        "variables": 3,
        "assets": 2,
        "extra": extra,
        "total": 11 + extra,
    }


def test_an_asset_comes_back_and_one_that_is_not_there_is_none(tmp_path):
    assert read_json(tmp_path, contract.METADATA_FILE) is None
    write_json(tmp_path, contract.METADATA_FILE, {"git": None, "params": {"heads": 2}})
    assert read_json(tmp_path, contract.METADATA_FILE) == {"git": None, "params": {"heads": 2}}
    assert [path.name for path in (tmp_path / contract.EXTRA_ASSETS).iterdir()] == ["metadata.json"]
    (tmp_path / contract.METADATA_FILE).write_text("[]")
    with pytest.raises(ValueError, match="must hold a JSON object, it holds list"):
        read_json(tmp_path, contract.METADATA_FILE)
