"""Which files an address means: a file, a folder with all that lies below it, or an explicit glob."""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from tfx_pipeline.errors import DataError
from tfx_pipeline.files.addresses import Address, local
from tfx_pipeline.files.mirror import bring

_HIDDEN = (".", "_")
_MAGIC = frozenset("*?[")


@dataclass(frozen=True)
class FoundFile:
    """A regular file.

    Attributes:
        path: where it lies, as its address and the names below it say; links are not resolved.
        size: bytes.
        modified: seconds since the epoch.
        named: whether the address, or a glob's last part, names it; otherwise it lies in a folder that they name.
    """

    path: str
    size: int
    modified: float
    named: bool


def find_files(address: Address) -> list[FoundFile]:
    """The regular files that an address means, sorted by path.

    A name is a name: what is there is never taken for a pattern, whatever characters it holds. Only a part of the
    address that is not there and has `*`, `?` or `[` is a pattern; `**` stands for any number of folders. Links are
    followed, and a file that is reached several times counts once. Files and folders that begin with `.` or `_` are
    passed over where the address does not name them: Spark and Hadoop leave `_SUCCESS`, `_metadata` and checksums.
    A mirrored path is first made what the store has.

    Raises:
        DataError: nothing is there, a link leads nowhere, or something is neither a file nor a folder.
    """
    bring(address)
    text = os.fspath(local(address))
    if os.path.realpath(text) == os.path.abspath(os.sep):
        raise DataError(f"{text}: is the root of the file system; name a file, a glob or a folder of the table")
    found: dict[str, FoundFile] = {}
    try:
        for path in _match(text):
            named = not os.path.isdir(path)
            for file in [path] if named else _below(path, frozenset()):
                status = _status(file)
                real = os.path.realpath(file)
                if real not in found or file < found[real].path:
                    found[real] = FoundFile(file, status.st_size, status.st_mtime, named)
    except (OSError, ValueError) as error:
        raise DataError(f"{text}: cannot be listed: {getattr(error, 'strerror', None) or error}") from None
    if not found:
        raise DataError(f"{text}: no such file; expected a file, a glob or a directory with files")
    return sorted(found.values(), key=lambda file: file.path)


def _match(address: str) -> list[str]:
    """What is there of an address, part by part: names as they are, patterns by what they match."""
    anchor, parts = (os.sep, address.split(os.sep)[1:]) if address.startswith(os.sep) else ("", address.split(os.sep))
    matched = [anchor]
    for part in filter(None, parts):
        matched = [path for base in matched for path in _step(base, part)]
    return matched


def _step(base: str, part: str) -> Iterator[str]:
    name = os.path.join(base, part)
    if os.path.lexists(name):
        yield name
    elif part == "**":
        yield base
        yield from _folders(base, frozenset())
    elif _MAGIC & set(part) and os.path.isdir(base or os.curdir):
        for entry in sorted(os.listdir(base or os.curdir)):
            if fnmatch.fnmatchcase(entry, part) and (not entry.startswith(_HIDDEN) or entry[0] == part[0]):
                yield os.path.join(base, entry)


def _below(folder: str, above: frozenset[str]) -> Iterator[str]:
    """Everything below a folder but folders and what is hidden; `above`: real paths of the folders on the way."""
    inside = above | {os.path.realpath(folder)}
    for entry in _visible(folder):
        path = os.path.join(folder, entry)
        if not os.path.isdir(path):
            yield path
        elif os.path.realpath(path) not in inside:
            yield from _below(path, inside)


def _folders(base: str, above: frozenset[str]) -> Iterator[str]:
    inside = above | {os.path.realpath(base)}
    for entry in _visible(base or os.curdir):
        path = os.path.join(base, entry)
        if os.path.isdir(path) and os.path.realpath(path) not in inside:
            yield path
            yield from _folders(path, inside)


def _visible(folder: str) -> list[str]:
    return sorted(entry for entry in os.listdir(folder) if not entry.startswith(_HIDDEN))


def _status(file: str) -> os.stat_result:
    try:
        status = os.stat(file)
    except FileNotFoundError:
        raise DataError(f"{file}: the link leads to {os.path.realpath(file)}, which is not there") from None
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{file}: is neither a file nor a folder (a pipe, a socket or a device); give a file")
    return status
