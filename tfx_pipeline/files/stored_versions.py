"""Versions of a served model on an object store, and their mirror here.

A version never changes. The mirror has a hidden file for each that the store has had, `.stored-NUMBER`: one without it
was made here and is still to be published, and one with it that the store has no longer was withdrawn.
"""

from __future__ import annotations

from pathlib import Path

from tfx_pipeline.console import console
from tfx_pipeline.files.addresses import Address, join
from tfx_pipeline.files.mirror import address_of
from tfx_pipeline.files.object_store import fetch, names_in, publish
from tfx_pipeline.files.reading import exists, list_names
from tfx_pipeline.files.versions import version_names
from tfx_pipeline.files.writing import remove, write_text, writing_folder

# By which readers tell that a version is whole: it is written last.
_SAVED_MODEL = "saved_model.pb"


def bring_versions(base: Address) -> None:
    """Makes the newest version of a mirrored folder of versions what the store has; nothing of a local folder.

    The newest whole version is fetched, and those that were withdrawn are removed here.

    Raises:
        DataError: the store cannot be read.
    """
    address = address_of(base)
    if address is None:
        return
    stored = version_names(names_in(address))
    for version in version_names(list_names(base)):
        if _mark(base, version).exists() and version not in stored:
            remove(Path(base, version))
            remove(_mark(base, version))
    for version in reversed(stored):
        here = Path(base, version)
        if _SAVED_MODEL in names_in(join(address, version)):
            if not (here / _SAVED_MODEL).exists():
                bring_version(here)
            return


def bring_version(path: Address) -> None:
    """Fetches one version, all of it, unless it is here; nothing of a local folder.

    Raises:
        DataError: it is not there, or the store cannot be read.
    """
    address, here = address_of(path), Path(path)
    if address is None or (here / _SAVED_MODEL).exists():
        return
    remove(here)
    with console().status(f"fetching {address}"), writing_folder(here) as incoming:
        fetch(address, incoming)
    write_text(_mark(here.parent, here.name), "")


def publish_versions(base: Address) -> list[str]:
    """Copies versions that were made here to the store of a mirrored folder, and says so; nothing of a local folder.

    Returns:
        Their addresses.

    Raises:
        DataError: the store cannot be written; what was not published is at the next call.
    """
    address = address_of(base)
    if address is None:
        return []
    published = []
    for version in version_names(list_names(base)):
        if not _mark(base, version).exists() and Path(base, version, _SAVED_MODEL).exists():
            with console().status(f"publishing {join(address, version)}"):
                publish(Path(base, version), join(address, version), last=_SAVED_MODEL)
            write_text(_mark(base, version), "")
            published.append(join(address, version))
            console().print(f"published: {published[-1]}", highlight=False, soft_wrap=True)
    return published


def version_exists(path: Address) -> bool:
    """Whether a version is here, or of a mirrored one in the store.

    Raises:
        DataError: the store cannot be read.
    """
    address = address_of(path)
    return exists(path) or (address is not None and _SAVED_MODEL in names_in(address))


def is_stored_version(path: Address) -> bool:
    """Whether a mirrored path is that of one version, and not of a folder of some."""
    address = address_of(path)
    return address is not None and _SAVED_MODEL in names_in(address)


def _mark(base: Address, version: str) -> Path:
    return Path(base, f".stored-{version}")
