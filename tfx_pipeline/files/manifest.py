"""Manifests: what a folder held when it was finished, to tell damage and strangers from it later.

A manifest lies beside its folder under a hidden name. Inside it would be one more file to those who read all of them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from typing import Any

from tfx_pipeline.errors import DataError
from tfx_pipeline.files.addresses import Address, join, local
from tfx_pipeline.files.reading import exists, read_json
from tfx_pipeline.files.writing import write_json

_SHOWN = 3


def manifest_of(folder: Address) -> str:
    """Where the manifest of a folder lies."""
    path = local(folder)
    return str(path.with_name(f".{path.name}.manifest.json"))


def write_manifest(folder: Address) -> None:
    """Writes down the name, size and SHA-256 of every file below a folder, which nobody writes to any more."""
    root = local(folder)
    files = {
        name: {"bytes": (root / name).stat().st_size, "sha256": _digest(join(folder, name))} for name in _names(folder)
    }
    write_json(manifest_of(folder), {"files": files})


def has_manifest(folder: Address) -> bool:
    """Whether the folder was finished by a version that writes manifests."""
    return exists(manifest_of(folder))


def check_manifest(folder: Address, *, checksums: bool = False) -> None:
    """Compares a folder with its manifest.

    Args:
        folder: one that has a manifest.
        checksums: whether contents are compared too, and not only names and sizes.

    Raises:
        DataError: a file is missing, was added, or has changed; the message names some of them.
    """
    faults = list(_faults(folder, checksums))
    if faults:
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise DataError(f"{os.fspath(folder)} has changed since it was written: {'; '.join(faults[:_SHOWN])}{more}")


def _faults(folder: Address, checksums: bool) -> Iterator[str]:
    try:
        expected: dict[str, dict[str, Any]] = dict(read_json(manifest_of(folder))["files"])
    except (OSError, KeyError, TypeError, ValueError):
        yield f"{manifest_of(folder)} cannot be read"
        return
    there = set(_names(folder))
    for name in sorted(there | set(expected)):
        if name not in expected:
            yield f"{name} was added"
        elif name not in there:
            yield f"{name} is missing"
        else:
            size = (local(folder) / name).stat().st_size
            if size != expected[name]["bytes"]:
                yield f"{name} has {size:,} bytes instead of {expected[name]['bytes']:,}"
            elif checksums and _digest(join(folder, name)) != expected[name]["sha256"]:
                yield f"{name} has other contents"


def _names(folder: Address) -> list[str]:
    """Files below the folder, by their paths from there; without those that a writer who was killed left."""
    root = local(folder)
    found = []
    for path, _, names in os.walk(root):
        for name in names:
            if not name.startswith(".incoming-"):
                found.append(os.path.relpath(os.path.join(path, name), root))
    return sorted(found)


def _digest(file: Address) -> str:
    with local(file).open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
