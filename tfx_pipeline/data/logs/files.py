"""Which files a table consists of, and a fingerprint of them. Listed by Beam's FileSystems."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import get_args

from apache_beam.io.filesystem import BeamIOError, FileMetadata
from apache_beam.io.filesystems import FileSystems

from tfx_pipeline.config.schema import Table, TableFormat
from tfx_pipeline.errors import DataError

# A directory may also hold notes, checksums, markers: only these endings are data there.
ENDINGS: dict[str, TableFormat] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
_COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}


@dataclasses.dataclass(frozen=True)
class LogFile:
    """One file of a table. `ordinal`: its place among the table's files sorted by path, the first tie-break in time."""

    ordinal: int
    path: str
    format: TableFormat
    separator: str


def list_files(table: Table) -> list[LogFile]:
    """The files of a table, sorted by path.

    A directory means every file below it of a known ending; files and folders that begin with `.` or `_` are skipped.

    Raises:
        DataError: nothing is there, or a file's format is not known.
    """
    found = _expand(str(table.path))
    if _is_directory(str(table.path)):
        known = [m.path for m in found if (f := format_of(m.path)) and (table.format is None or f == table.format)]
        if not known:
            there = ", ".join(sorted(os.path.basename(m.path) for m in found)[:5]) or "nothing"
            wanted = table.format or "/".join(get_args(TableFormat))
            raise DataError(f"{table.path}: no {wanted} file in this directory; it holds {there}")
        paths = known
    else:
        paths = [m.path for m in found]
    files = []
    for ordinal, path in enumerate(sorted(paths)):
        file_format = table.format or format_of(path)
        if file_format is None:
            raise DataError(
                f"{path}: unknown format; give 'format' ({', '.join(get_args(TableFormat))}) or use one of the endings "
                f"{', '.join(ENDINGS)}"
            )
        files.append(LogFile(ordinal, path, file_format, table.separator))
    return files


def fingerprint(paths: Iterable[str | os.PathLike[str]]) -> str:
    """Hex digest of the path, size and modification time of every file behind `paths` (files, globs, directories).

    Equal digests mean that nothing was added, removed or touched; the contents are not read.

    Raises:
        DataError: nothing is there for one of the paths.
    """
    digest = hashlib.sha256()
    found = {m.path: m for path in paths for m in _expand(os.fspath(path))}
    for path in sorted(found):
        metadata = found[path]
        digest.update(repr((path, metadata.size_in_bytes, metadata.last_updated_in_seconds)).encode())
    return digest.hexdigest()


def format_of(path: str) -> TableFormat | None:
    """Format by the file's ending, before which `.gz`, `.bz2` or `.zst` may stand for text formats."""
    compression = compression_of(path)
    name = path.lower() if compression is None else path.lower().rpartition(".")[0]
    found = ENDINGS.get(PurePosixPath(name).suffix)
    return None if compression is not None and found == "parquet" else found


def compression_of(path: str) -> str | None:
    """Arrow's name of the compression that the file's ending says, or None."""
    return _COMPRESSED.get(PurePosixPath(path.lower()).suffix)


def _is_directory(path: str) -> bool:
    return os.path.isdir(path) or (path.endswith("/") and not os.path.exists(path))


def _expand(path: str) -> list[FileMetadata]:
    base = path.rstrip("/") if _is_directory(path) else None
    try:
        if base is None and os.path.exists(path):
            # A local name may hold the characters of a glob.
            status = os.stat(path)
            return [FileMetadata(path, status.st_size, status.st_mtime)]
        metadata = FileSystems.match([f"{base}/**" if base is not None else path])[0].metadata_list
    except (BeamIOError, ValueError) as error:
        raise DataError(f"{path}: cannot be listed: {error}") from None
    anchor = len(base) + 1 if base is not None else len(path.split("*")[0].rpartition("/")[0])
    found = [m for m in metadata if not _hidden(m.path[anchor:])]
    if not found:
        raise DataError(f"{path}: no such file; expected a file, a glob or a directory with files")
    return found


def _hidden(relative: str) -> bool:
    return any(part.startswith((".", "_")) for part in relative.split("/"))
