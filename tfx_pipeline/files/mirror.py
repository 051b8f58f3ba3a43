"""Files of object stores as local ones, which are brought here when somebody is about to read them.

What lies at `s3://bucket/logs/day.parquet` is here `MIRROR/s3/bucket/logs/day.parquet`, so that all that reads files
reads local ones. MIRROR is the folder that `DMF_STORES` names, or `~/.cache/dmf/stores`.
"""

from __future__ import annotations

import datetime as dt
import glob
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tfx_pipeline.console import console
from tfx_pipeline.errors import DataError
from tfx_pipeline.files.addresses import Address, join, scheme
from tfx_pipeline.files.object_store import check_name, fetch, names_in, open_store, publish
from tfx_pipeline.files.reading import list_names
from tfx_pipeline.files.versions import version_names
from tfx_pipeline.files.writing import remove, writing, writing_folder

STORES = ("s3", "gs")
ROOT_VARIABLE = "DMF_STORES"
_HIDDEN = (".", "_")
_MAGIC = frozenset("*?[")
# Where the stores' libraries say when a file was written.
_WRITTEN = ("LastModified", "updated", "mtime", "created")
# By which readers of versions tell that one is whole: it is written last.
_SAVED_MODEL = "saved_model.pb"


def mirrored(address: Address) -> Path:
    """Where that which lies at an address of a store is here; a local path as it is."""
    store = scheme(address)
    if store is None:
        return Path(address)
    # A path has lost the second slash.
    return _root() / store / os.fspath(address).removeprefix(f"{store}:").strip("/")


def address_of(path: Address) -> str | None:
    """Inverse of `mirrored`; None of a local path."""
    root = _root()
    if not Path(path).is_relative_to(root) or len(parts := Path(path).relative_to(root).parts) < 2:
        return None
    return f"{parts[0]}://{'/'.join(parts[1:])}"


def bring(path: Address) -> None:
    """Makes what is here at a mirrored path what lies in the store; nothing of a local path.

    New and changed files, by size and time, are fetched, each by rename; what is gone there is removed here. Names that
    begin with `.` or `_` are left out, as `find_files` passes over them.

    Args:
        path: of a file, a folder or a glob.

    Raises:
        DataError: nothing is there, the store cannot be read, or a file changes while it is fetched.
    """
    address = address_of(path)
    if address is None:
        return
    started, fetched, size = time.monotonic(), 0, 0
    with open_store(address) as (store, name), console().status(f"looking at {address}"):
        # Others may have written since this process looked.
        store.invalidate_cache()
        found = dict(_files(store, name, address))
        for file, info in found.items():
            if _is_here(file, info):
                continue
            with writing(file) as incoming:
                store.get_file(info["name"], str(incoming))
                if incoming.stat().st_size != info["size"]:
                    raise DataError(f"{address_of(file)}: it changed while it was fetched; run again")
                os.utime(incoming, (_written(info), _written(info)))
            fetched, size = fetched + 1, size + info["size"]
    for file in _here(Path(path)):
        if file not in found:
            remove(file)
    if fetched:
        seconds = time.monotonic() - started
        console().print(
            f"fetched {fetched:,} of {len(found):,} files of {address}, {size / 1e6:,.1f} MB in {seconds:.0f} s",
            highlight=False,
            soft_wrap=True,
        )


def bring_newest(base: Address) -> None:
    """Brings the newest whole version of a mirrored folder of versions; nothing of a local folder, or where none is.

    Raises:
        DataError: the store cannot be read.
    """
    address = address_of(base)
    if address is None:
        return
    for version in reversed(version_names(names_in(address))):
        here = Path(base, version)
        if (here / _SAVED_MODEL).exists():
            return
        if _SAVED_MODEL in names_in(join(address, version)):
            remove(here)
            with console().status(f"fetching {join(address, version)}"), writing_folder(here) as incoming:
                fetch(join(address, version), incoming)
            return


def publish_new(base: Address) -> list[str]:
    """Copies to the store the versions here that are newer than all of a mirrored folder; nothing of a local folder.

    Returns:
        Their addresses.

    Raises:
        DataError: the store cannot be read or written; what was not published is at the next call.
    """
    address = address_of(base)
    if address is None:
        return []
    whole = [name for name in version_names(names_in(address)) if _SAVED_MODEL in names_in(join(address, name))]
    newest = max(map(int, whole), default=0)
    published = []
    for version in version_names(list_names(base)):
        if int(version) > newest and Path(base, version, _SAVED_MODEL).exists():
            with console().status(f"publishing {join(address, version)}"):
                publish(Path(base, version), join(address, version), last=_SAVED_MODEL)
            published.append(join(address, version))
    return published


def _root() -> Path:
    given = os.environ.get(ROOT_VARIABLE)
    return Path(given).absolute() if given else Path.home() / ".cache" / "dmf" / "stores"


def _files(store: Any, name: str, address: str) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Where each file of an address is here, and what the store says of it."""
    # A name is a name: what is there is never taken for a pattern.
    if store.isfile(name):
        yield mirrored(address), store.info(name)
        return
    matched = store.glob(name, detail=True) if _MAGIC & set(name) else {name: {"type": "directory"}}
    there = False
    for match, info in matched.items():
        below = store.find(match, detail=True) if info["type"] == "directory" else {match: info}
        for file, one in below.items():
            check_name(file, address)
            if one["type"] == "file" and not any(part.startswith(_HIDDEN) for part in _inner(file, match)):
                there = True
                yield mirrored(f"{scheme(address)}://{file.strip('/')}"), one
    if not there:
        raise DataError(f"{address}: nothing is there; expected a file, a glob, or a folder with files")


def _inner(file: str, folder: str) -> tuple[str, ...]:
    """The parts of a file's name below a folder."""
    return Path(file).relative_to(folder).parts


def _is_here(file: Path, info: Mapping[str, Any]) -> bool:
    try:
        status = file.stat()
    except OSError:
        return False
    return status.st_size == info["size"] and abs(status.st_mtime - _written(info)) < 1e-3


def _written(info: Mapping[str, Any]) -> float:
    """Seconds since the epoch."""
    found = next((info[name] for name in _WRITTEN if info.get(name) is not None), 0.0)
    if isinstance(found, str):
        found = dt.datetime.fromisoformat(found)
    return found.timestamp() if isinstance(found, dt.datetime) else float(found)


def _here(path: Path) -> list[Path]:
    """Files that a mirrored address has here, but for hidden ones."""
    matched = [path] if path.exists() else [Path(found) for found in glob.glob(str(path), recursive=True)]
    return [
        file
        for match in matched
        for file in ([match] if match.is_file() else match.rglob("*"))
        if file.is_file() and not file.name.startswith(_HIDDEN)
    ]
