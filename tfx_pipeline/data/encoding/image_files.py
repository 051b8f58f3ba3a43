"""Which image file the catalogue names for each item, and what is in it."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tfx_pipeline.config.encoders import ImageEncoder
from tfx_pipeline.config.tables import ItemTable
from tfx_pipeline.data.encoding.contents import Contents, LeftOut
from tfx_pipeline.data.encoding.texts import EMPTY, read_columns, source_of
from tfx_pipeline.errors import DataError

ADDRESS, MISSING, BROKEN = "address", "missing", "broken"
"""Why an item is left out: not fetched here, no such file, no readable image."""
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+://|data:)")
_AT_ONCE = 4096
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL)


class ImageFile(NamedTuple):
    """A file, and the SHA-256 of what is in it."""

    path: Path
    digest: bytes


class _Failure(NamedTuple):
    reason: str
    why: str


def image_contents(name: str, table: ItemTable, settings: ImageEncoder, encoder: str) -> Contents:
    """The images of the catalogue. Items whose files hold the same bytes share a source.

    Args:
        name: of the encoder.
        table: section `data.items` of the configuration.
        settings: of the encoder.
        encoder: its digest.

    Raises:
        DataError: the catalogue cannot be read, or no item has a file.
    """
    all_ids, all_cells = read_columns(table, [settings.column])
    cells = [
        (item, (cell or "").strip()) for item, cell in zip(all_ids.to_pylist(), all_cells.to_pylist(), strict=True)
    ]
    paths = {cell: settings.folder / cell for _, cell in cells if cell and not _ADDRESS.match(cell)}
    read = dict(zip(paths, _read(list(paths.values())), strict=True))
    ids, sources, files, left_out = [], [], {}, LeftOut()
    for item, cell in cells:
        if not cell:
            left_out.add(EMPTY, item)
        elif cell not in paths:
            left_out.add(ADDRESS, item, f"{cell:.80} is an address")
        elif isinstance(found := read[cell], _Failure):
            left_out.add(found.reason, item, found.why)
        else:
            ids.append(item)
            sources.append(source_of(encoder, found.digest))
            files[sources[-1]] = found
    if not ids:
        raise DataError(f"encoders.{name}.column: no item of {table.path} has an image file: {none_of(left_out)}")
    return Contents(len(all_ids), ids, sources, files, left_out)


def none_of(left_out: LeftOut) -> str:
    """Why there is no image at all, and what to do."""
    counts = left_out.counts
    said = [
        f"{counts[reason]:,} {words}"
        for reason, words in (
            (EMPTY, "empty cells"),
            (ADDRESS, "addresses, which are not fetched here: download them first, and give the paths of the files"),
            (MISSING, "missing files"),
            (BROKEN, "that cannot be read"),
        )
        if counts[reason]
    ]
    named = f"; such as {left_out.named[0]}" if left_out.named else ""
    return f"{', '.join(said)}{named}"


def _read(paths: list[Path]) -> Iterator[ImageFile | _Failure]:
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        # A pool holds all that it was given.
        for first in range(0, len(paths), _AT_ONCE):
            yield from pool.map(_digested, paths[first : first + _AT_ONCE])


def _digested(path: Path) -> ImageFile | _Failure:
    try:
        with path.open("rb") as file:
            return ImageFile(path, hashlib.file_digest(file, "sha256").digest())
    except ValueError as error:
        return _Failure(MISSING, f"{str(path)!r}: {error}")
    except OSError as error:
        return _Failure(MISSING if error.errno in _NOT_THERE else BROKEN, f"{path}: {error.strerror}")
