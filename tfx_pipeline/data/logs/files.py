"""Which files a table consists of, and a fingerprint of them."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import get_args

from tfx_pipeline.config.tables import Table, TableFormat
from tfx_pipeline.errors import DataError
from tfx_pipeline.files.listing import FoundFile, find_files

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


_UNQUOTED = ".tsv"


@dataclasses.dataclass(frozen=True)
class LogFile:
    """One file of a table.

    Attributes:
        ordinal: its place among the table's files sorted by path, the first tie-break in time.
        path: where it lies.
        format: of its rows.
        separator: of CSV columns.
        quoted: whether a CSV field that begins with `"` ends at the next one, as RFC 4180 has it.
        escape: what makes the next character of a CSV field part of the value.
        encoding: of text.
        size: bytes.
        header: names of the columns of a CSV file without a header line.
    """

    ordinal: int
    path: str
    format: TableFormat
    separator: str
    quoted: bool = True
    escape: str | None = None
    encoding: str = "utf-8"
    size: int = 0
    header: tuple[str, ...] | None = None


def list_files(table: Table) -> list[LogFile]:
    """The files of a table, sorted by path.

    A directory means every file below it of a known ending, and with `format` every file below it but those whose
    ending says another format.

    Raises:
        DataError: nothing is there, or a file's format is not known.
    """
    found = find_files(table.path)
    files = [file for file in found if file.named or _is_data(file.path, table.format)]
    if not files:
        there = ", ".join(sorted(os.path.basename(file.path) for file in found)[:5])
        wanted = table.format or "/".join(get_args(TableFormat))
        hint = "" if table.format else "; where the ending does not say the format, give 'format'"
        raise DataError(f"{table.path}: no {wanted} file in this directory; it holds {there}{hint}")
    return [_log_file(ordinal, file, table) for ordinal, file in enumerate(files)]


def _is_data(path: str, given: TableFormat | None) -> bool:
    says = format_of(path)
    return says is not None if given is None else says in (None, given)


def _log_file(ordinal: int, file: FoundFile, table: Table) -> LogFile:
    file_format = table.format or format_of(file.path)
    if file_format is None:
        raise DataError(
            f"{file.path}: unknown format; give 'format' ({', '.join(get_args(TableFormat))}) or use one of the "
            f"endings {', '.join(ENDINGS)}"
        )
    if table.header is not None and file_format != "csv":
        raise DataError(f"{file.path}: header names the columns of CSV files, and this one is {file_format}")
    quoting = table.quoting or ("none" if _plain_ending(file.path) == _UNQUOTED else "rfc4180")
    return LogFile(
        ordinal,
        file.path,
        file_format,
        table.separator,
        quoting == "rfc4180",
        table.escape,
        table.encoding,
        file.size,
        None if table.header is None else tuple(table.header),
    )


def fingerprint(paths: Iterable[str | os.PathLike[str]]) -> str:
    """Hex digest of the path, size and modification time of every file behind `paths` (files, globs, directories).

    Equal digests mean that nothing was added, removed or touched; the contents are not read.

    Raises:
        DataError: nothing is there for one of the paths.
    """
    digest = hashlib.sha256()
    found = {file.path: file for path in paths for file in find_files(path)}
    for path in sorted(found):
        digest.update(repr((path, found[path].size, found[path].modified)).encode())
    return digest.hexdigest()


def format_of(path: str) -> TableFormat | None:
    """Format by the file's ending, before which `.gz`, `.bz2` or `.zst` may stand for text formats."""
    found = ENDINGS.get(_plain_ending(path))
    return None if compression_of(path) is not None and found == "parquet" else found


def compression_of(path: str) -> str | None:
    """Arrow's name of the compression that the file's ending says, or None."""
    return _COMPRESSED.get(PurePosixPath(path.lower()).suffix)


def _plain_ending(path: str) -> str:
    name = path.lower() if compression_of(path) is None else path.lower().rpartition(".")[0]
    return PurePosixPath(name).suffix
