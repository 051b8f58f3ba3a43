"""Manifests of the folders that steps leave.

A manifest lies beside its folder under a hidden name. Inside it would be one more file to those who read all of them.
"""

from __future__ import annotations

from serving.manifest import ChangedFiles, check, describe
from tfx_pipeline.errors import DataError
from tfx_pipeline.files.addresses import Address, local
from tfx_pipeline.files.reading import exists
from tfx_pipeline.files.writing import write_json


def manifest_of(folder: Address) -> str:
    """Where the manifest of a folder lies."""
    path = local(folder)
    return str(path.with_name(f".{path.name}.manifest.json"))


def write_manifest(folder: Address) -> None:
    """Writes down the name, size and SHA-256 of every file below a folder, which nobody writes to any more."""
    write_json(manifest_of(folder), describe(local(folder)))


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
    try:
        check(local(folder), local(manifest_of(folder)), checksums=checksums)
    except ChangedFiles as error:
        raise DataError(str(error)) from None
