"""Files of object stores as local ones, which are brought here when somebody is about to read them.

What lies at `s3://bucket/logs/day.parquet` is here `MIRROR/s3/bucket/logs/day.parquet`, so that all that reads files
reads local ones. MIRROR is the folder that `DMF_STORES` names, or `~/.cache/dmf/stores`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import glob
import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from tfx_pipeline.console import console
from tfx_pipeline.errors import DataError
from tfx_pipeline.files.addresses import Address, scheme
from tfx_pipeline.files.object_store import check_name, open_store
from tfx_pipeline.files.writing import remove, writing

STORES = ("s3", "gs")
ROOT_VARIABLE = "DMF_STORES"
_HIDDEN = (".", "_")
_MAGIC = frozenset("*?[")
# Where the stores' libraries say when a file was written, and which of the contents of its name it is.
_WRITTEN = ("LastModified", "updated", "mtime", "created")
_CONTENT = ("ETag", "etag", "generation", "md5Hash")


def mirrored(address: Address) -> Path:
    """Where that which lies at an address of a store is here; a local path as it is.

    Raises:
        DataError: the address leads out of its folder; or there is no home folder, and `DMF_STORES` is not set.
    """
    store = scheme(address)
    if store is None:
        return Path(address)
    # A path has lost the second slash.
    name = os.fspath(address).removeprefix(f"{store}:").strip("/")
    check_name(name, f"{store}://{name}")
    return _root() / store / name


def address_of(path: Address) -> str | None:
    """Inverse of `mirrored`; None of a local path."""
    try:
        root = _root()
    except DataError:
        return None
    if not Path(path).is_relative_to(root) or len(parts := Path(path).relative_to(root).parts) < 2:
        return None
    return f"{parts[0]}://{'/'.join(parts[1:])}"


def bring(path: Address) -> None:
    """Makes what is here at a mirrored path what lies in the store; nothing of a local path.

    What is gone there is removed here; new and changed files are fetched, each by rename. Names that begin with `.` or
    `_` are left out, as `find_files` passes over them.

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
        _clear(Path(path), found)
        for file, info in found.items():
            if _is_here(file, info):
                continue
            with writing(file) as incoming:
                store.get_file(info["name"], str(incoming))
                if incoming.stat().st_size != info["size"]:
                    raise DataError(f"{address_of(file)}: it changed while it was fetched; run again")
                os.utime(incoming, ns=(_stamp(info), _stamp(info)))
            fetched, size = fetched + 1, size + info["size"]
    if fetched:
        seconds = time.monotonic() - started
        console().print(
            f"fetched {fetched:,} of {len(found):,} files of {address}, {size / 1e6:,.1f} MB in {seconds:.0f} s",
            highlight=False,
            soft_wrap=True,
        )


def _root() -> Path:
    given = os.environ.get(ROOT_VARIABLE)
    try:
        return Path(given).expanduser().absolute() if given else Path.home() / ".cache" / "dmf" / "stores"
    except RuntimeError:
        raise DataError(
            f"there is no home folder to keep what lies on an object store in; set {ROOT_VARIABLE} to a folder"
        ) from None


def _files(store: Any, name: str, address: str) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Where each file of an address is here, and what the store says of it."""
    # A name is a name: what is there is never taken for a pattern.
    if store.isfile(name):
        yield mirrored(address), store.info(name)
        return
    if _MAGIC & set(name) and not store.isdir(name):
        matched = store.glob(name, detail=True)
    else:
        matched = {name: {"type": "directory"}}
    found: dict[str, Mapping[str, Any]] = {}
    for match, info in matched.items():
        found |= store.find(match, detail=True) if info["type"] == "directory" else {match: info}
    # Consoles and Hadoop write empty objects that stand for folders.
    folders = {str(above) for file in found for above in PurePosixPath(file).parents}
    there = False
    for file, info in found.items():
        check_name(file, address)
        stands_for_folder = not info["size"] and (file.endswith("/") or file in folders)
        if info["type"] == "file" and not stands_for_folder and not _is_hidden(file, name):
            there = True
            yield mirrored(f"{scheme(address)}://{file.strip('/')}"), info
    if not there:
        raise DataError(f"{address}: nothing is there; expected a file, a glob, or a folder with files")


def _is_hidden(file: str, asked: str) -> bool:
    """Whether a part of a file's name is hidden that what was asked for does not name."""
    parts, named = PurePosixPath(file).parts, PurePosixPath(asked).parts
    # Of a pattern's part it is enough that it begins alike; `**` stands for any number of parts.
    unnamed = (
        part
        for place, part in enumerate(parts)
        if place >= len(named) or "**" in named[: place + 1] or named[place][0] != part[0]
    )
    return any(part.startswith(_HIDDEN) for part in unnamed)


def _clear(path: Path, found: Mapping[Path, Any]) -> None:
    """Removes files that are not among those found, and folders that stand where one of these is to be."""
    matched = [path] if path.exists() else [Path(match) for match in glob.glob(str(path), recursive=True)]
    for match in matched:
        for file in [match] if match.is_file() else match.rglob("*"):
            if file.is_file() and not file.name.startswith(_HIDDEN) and file not in found:
                remove(file)
    for file in found:
        if file.is_dir():
            remove(file)


def _is_here(file: Path, info: Mapping[str, Any]) -> bool:
    with contextlib.suppress(OSError):
        status = file.stat()
        return status.st_size == info["size"] and status.st_mtime_ns == _stamp(info)
    return False


def _stamp(info: Mapping[str, Any]) -> int:
    """When a file was written, nanoseconds since the epoch: the seconds of the store, the rest by the content.

    Stores tell of whole seconds, in which a file may be written again with the same size.
    """
    written = next((info[name] for name in _WRITTEN if info.get(name) is not None), 0)
    if isinstance(written, str):
        written = dt.datetime.fromisoformat(written)
    seconds = written.timestamp() if isinstance(written, dt.datetime) else float(written)
    content = repr([info.get(name) for name in _CONTENT]).encode()
    microseconds = int.from_bytes(hashlib.sha256(content).digest()[:4]) % 10**6
    return int(seconds) * 10**9 + microseconds * 1000
