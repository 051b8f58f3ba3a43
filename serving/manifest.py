"""Manifests: what a folder held when it was finished, to tell damage and strangers from it later."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from serving import contract

_SHOWN = 3
Files = Mapping[str, Mapping[str, Any]]


class ChangedFiles(ValueError):
    """A folder is no longer what its manifest says."""


def describe(folder: Path) -> dict[str, Any]:
    """The manifest of a folder that nobody writes to any more: size in bytes and SHA-256 of every file below it."""
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": _digest(folder / name)} for name in _names(folder)
    }
    return {"files": files}


def check(folder: Path, manifest: Path, *, checksums: bool, strangers: bool = True) -> None:
    """Compares a folder with its manifest.

    Args:
        folder: what is looked at.
        manifest: the file that `describe` became.
        checksums: whether contents are compared too, and not only names and sizes.
        strangers: whether a file that the manifest does not know is a fault.

    Raises:
        ChangedFiles: a file is missing, was added, or has changed; the message names some of them.
    """
    faults = list(_faults(folder, manifest, checksums, strangers))
    if faults:
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise ChangedFiles(f"{folder} has changed since it was written: {'; '.join(faults[:_SHOWN])}{more}")


def check_version(version: Path, *, checksums: bool = False) -> None:
    """Compares a pushed version with the manifest in it; one that was pushed by a version before manifests has none.

    Args:
        version: the folder of the SavedModel.
        checksums: whether contents are compared too.

    Raises:
        ChangedFiles: a file is missing or has changed. A file more harms nobody: no reader looks for it.
    """
    manifest = version / contract.MANIFEST_FILE
    if manifest.exists():
        check(version, manifest, checksums=checksums, strangers=False)


def _faults(folder: Path, manifest: Path, checksums: bool, strangers: bool) -> Iterator[str]:
    try:
        expected: Files = dict(json.loads(manifest.read_text(encoding="utf-8"))["files"])
        sizes = {name: int(of_file["bytes"]) for name, of_file in expected.items()}
    except (OSError, KeyError, TypeError, ValueError):
        yield f"{manifest} cannot be read"
        return
    there = set(_names(folder))
    for name in sorted(set(expected) | (there if strangers else set())):
        if name not in expected:
            yield f"{name} was added"
        elif name not in there:
            yield f"{name} is missing"
        elif (size := (folder / name).stat().st_size) != sizes[name]:
            yield f"{name} has {size:,} bytes instead of {sizes[name]:,}"
        elif checksums and _digest(folder / name) != expected[name].get("sha256"):
            yield f"{name} has other contents"


def _names(folder: Path) -> list[str]:
    """Files below the folder, by their paths from there; without those that a writer who was killed left."""
    found = []
    for path, _, names in os.walk(folder):
        found += [os.path.relpath(os.path.join(path, name), folder) for name in names if not _unfinished(name)]
    return sorted(found)


def _unfinished(name: str) -> bool:
    return name.startswith(".incoming-")


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
