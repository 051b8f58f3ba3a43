"""The content table and its form on disk.

A directory holds `item_ids.txt` (one id a line; line i, from 0, is row i of every matrix), per modality
`NAME.npy` (float16 or float32 [items, width], rows of unit length, zeros where missing), `NAME.present.npy`
(bool [items]) and, where the width was reduced, `NAME.basis.npy` (float32 [source width, width]), `titles.txt` (one a
line) when the catalogue has titles, `columns/NAME.npy` (int32 [items, width] or float32 [items]) and
`columns/NAME.names.json` (names of the embedding's rows) of each item column, `codes.npy` (int32 [items, levels]) and
`codes.centres.npy` (float64 [levels, size, width]) when there are semantic ids, and `content.json` (checksums and
statistics).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tfx_pipeline.data.content.codes import CodesReport, CodeTable
from tfx_pipeline.data.content.item_columns import ColumnCoverage, ItemColumnTable
from tfx_pipeline.errors import DataError
from tfx_pipeline.files import artifact_files
from tfx_pipeline.files.addresses import Address, local
from tfx_pipeline.files.json_record import JsonRecord
from tfx_pipeline.files.reading import read_json, read_lines
from tfx_pipeline.files.writing import write_lines, write_text, writing_folder

_FORMAT_VERSION = 2
_TITLES = "titles.txt"
_COLUMNS = "columns"
_CODES, _CENTRES = "codes.npy", "codes.centres.npy"


@dataclass(frozen=True)
class Coverage:
    """How a modality's embeddings and the catalogue match, in numbers of items."""

    items: int
    """in the catalogue"""
    present: int
    """with an embedding"""
    missing: int
    """without one, zero vectors included"""
    zero_vectors: int
    """whose embedding is all zeros, null, or outside the kept directions: without a direction there is no cosine"""
    unknown_ids: int
    """embedded, but not in the catalogue; left out"""
    zero_vector_items: tuple[str, ...] = ()
    """the first ten of those without a direction"""


@dataclass(frozen=True)
class ModalityManifest:
    """One modality in `content.json`."""

    width: int
    source_width: int
    dtype: str
    """in which the model keeps its table"""
    reduced: bool
    source: str
    explained_variance: float | None
    sha256: str
    coverage: Coverage
    encoder: str | None = None
    """digest of the encoder, where the file says it"""


@dataclass(frozen=True)
class ColumnManifest:
    """One item column in `content.json`."""

    rows: int | None
    """of its embedding; None for a number"""
    width: int
    """values of an item"""
    sha256: str
    coverage: ColumnCoverage
    scale: tuple[float, float] | None = None
    """of a number: mean and deviation that it is scaled by"""


@dataclass(frozen=True)
class CodesManifest:
    """The semantic ids in `content.json`."""

    of: str
    """modality that they are made of"""
    size: int
    """codes of each level"""
    sha256: str
    report: CodesReport


@dataclass(frozen=True)
class ContentManifest(JsonRecord):
    """What `content.json` says of a table."""

    format_version: int
    version: str
    items: int
    titles: bool
    """whether the catalogue has titles"""
    modalities: Mapping[str, ModalityManifest]
    columns: Mapping[str, ColumnManifest] = field(default_factory=dict)
    codes: CodesManifest | None = None
    retired: int = 0

    def to_json(self) -> dict[str, Any]:
        """See the base class; what a table does not have is left out, as before there was any."""
        values = super().to_json()
        for name in ("codes", "retired"):
            if not values[name]:
                del values[name]
        for part, later in (("modalities", "encoder"), ("columns", "scale")):
            for facts in values[part].values():
                if facts[later] is None:
                    del facts[later]
        return values


@dataclass(frozen=True, eq=False)
class ContentMatrix:
    """One modality of every item of the catalogue."""

    vectors: np.ndarray
    """float16 or float32 [items, width]; unit length, or zeros where not present"""
    present: np.ndarray
    """bool [items]"""
    storage_dtype: str
    """in which the model keeps its table: int8, float16 or float32; int8 is made of float16 `vectors`"""
    source: str
    """name of the embedding file: which encoder made it"""
    source_width: int
    basis: np.ndarray | None
    """float32 [source width, width], from the encoder's unit vectors to these; None without reduction"""
    explained_variance: float | None
    """share of the squared length that the reduction kept; None without reduction"""
    coverage: Coverage
    encoder: str | None = None
    """digest of the encoder; None where the embedding file does not say it"""

    @property
    def width(self) -> int:
        """Columns of `vectors`."""
        return int(self.vectors.shape[1])

    @cached_property
    def checksum(self) -> str:
        """sha256 of vectors, mask and basis, their types and shapes."""
        digest = hashlib.sha256()
        for array in (self.vectors, self.present, *([] if self.basis is None else [self.basis])):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class ItemContentTable:
    """Content of the whole catalogue; row i of every matrix belongs to `item_ids[i]`.

    The last `retired` rows are items that the catalogue had when the model was trained or last refreshed, and has no
    more: histories have them, and nothing recommends them.
    """

    item_ids: list[str]
    modalities: Mapping[str, ContentMatrix]
    titles: list[str] | None = None
    columns: Mapping[str, ItemColumnTable] = field(default_factory=dict)
    codes: CodeTable | None = None
    retired: int = 0

    def __post_init__(self) -> None:
        rows = len(self.item_ids)
        for name, matrix in self.modalities.items():
            if matrix.vectors.ndim != 2 or len(matrix.vectors) != rows or matrix.present.shape != (rows,):
                raise ValueError(
                    f"modality '{name}' must have vectors [{rows}, width] and present [{rows}], "
                    f"got {list(matrix.vectors.shape)} and {list(matrix.present.shape)}"
                )
            shape = [matrix.source_width, matrix.width]
            if matrix.basis is not None and list(matrix.basis.shape) != shape:
                raise ValueError(f"modality '{name}' must have a basis {shape}, got {list(matrix.basis.shape)}")
        for name, column in self.columns.items():
            if len(column.values) != rows:
                raise ValueError(f"column '{name}' must have {rows} values, one per item, got {len(column.values)}")
        if self.codes is not None and len(self.codes.values) != rows:
            raise ValueError(f"codes must be of {rows} items, got {len(self.codes.values)}")
        if self.titles is not None and len(self.titles) != rows:
            raise ValueError(f"titles must be {rows}, one per item, got {len(self.titles)}")

    @property
    def catalogue_ids(self) -> list[str]:
        """Ids of the items that may be ranked."""
        return list(self.item_ids[: len(self.item_ids) - self.retired])

    @property
    def covered(self) -> np.ndarray:
        """bool [items]: whether an item has content of any modality."""
        covered = np.zeros(len(self.item_ids), bool)
        for matrix in self.modalities.values():
            covered |= matrix.present
        return covered

    @cached_property
    def version(self) -> str:
        """Identifies ids, vectors, columns and codes together: 16 hex digits. Titles do not count."""
        digest = hashlib.sha256("\n".join(self.item_ids).encode())
        for name in sorted(self.modalities):
            digest.update(f"\n{name} {self.modalities[name].checksum}".encode())
        for name in sorted(self.columns):
            digest.update(f"\ncolumn {name} {self.columns[name].checksum}".encode())
        if self.codes is not None:
            digest.update(f"\ncodes {self.codes.checksum}".encode())
        if self.retired:
            digest.update(f"\nretired {self.retired}".encode())
        return digest.hexdigest()[:16]


def write_content(
    table: ItemContentTable, directory: Address, documents: Mapping[str, JsonRecord] | None = None
) -> None:
    """Writes the table; the directory appears complete or not at all.

    Args:
        table: what to write.
        directory: a new or empty directory.
        documents: further JSON files that say how it came about, by name.

    Raises:
        DataError: the directory holds something already.
    """
    directory = local(directory)
    if directory.is_dir() and any(directory.iterdir()):
        raise DataError(
            f"{directory} is not empty; a content table is never written over another, name a new directory"
        )
    with writing_folder(directory) as folder:
        write_lines(folder / artifact_files.ITEM_IDS, table.item_ids)
        if table.titles is not None:
            write_lines(folder / _TITLES, table.titles)
        for name, matrix in table.modalities.items():
            np.save(folder / f"{name}.npy", matrix.vectors)
            np.save(folder / f"{name}.present.npy", matrix.present)
            if matrix.basis is not None:
                np.save(folder / f"{name}.basis.npy", matrix.basis)
        if table.columns:
            (folder / _COLUMNS).mkdir()
        for name, column in table.columns.items():
            np.save(folder / _COLUMNS / f"{name}.npy", column.values)
            write_text(folder / _COLUMNS / f"{name}.names.json", json.dumps(column.names, ensure_ascii=False))
        if table.codes is not None:
            np.save(folder / _CODES, table.codes.values)
            if table.codes.centres is not None:
                np.save(folder / _CENTRES, table.codes.centres)
        manifest = json.dumps(_manifest(table).to_json(), indent=2)
        write_text(folder / artifact_files.CONTENT_MANIFEST, f"{manifest}\n")
        for name, record in (documents or {}).items():
            write_text(folder / name, json.dumps(record.to_json(), indent=2) + "\n")


def read_content(directory: Address) -> ItemContentTable:
    """Reads a table and checks it against its checksums.

    Matrices are memory-mapped, read-only; copy what is to be changed.

    Raises:
        DataError: no content table, one of another format, or files that are not those that were written.
    """
    directory = local(directory)
    try:
        values = read_json(directory / artifact_files.CONTENT_MANIFEST)
        if values["format_version"] != _FORMAT_VERSION:
            raise DataError(
                f"content table {directory} has format {values['format_version']}, this program reads "
                f"{_FORMAT_VERSION}; build it again"
            )
        manifest = ContentManifest.from_json(values)
        titles = read_lines(directory / _TITLES) if manifest.titles else None
        modalities = {name: _read_matrix(directory, name, facts) for name, facts in manifest.modalities.items()}
        columns = {name: _read_column(directory / _COLUMNS, name, facts) for name, facts in manifest.columns.items()}
        codes = None if manifest.codes is None else _read_codes(directory, manifest.codes)
        item_ids = read_lines(directory / artifact_files.ITEM_IDS)
        table = ItemContentTable(item_ids, modalities, titles, columns, codes, manifest.retired)
    except FileNotFoundError as error:
        raise DataError(f"{directory} is no complete content table: {Path(error.filename).name} is missing") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"content table {directory} is damaged ({error}); build it again") from None
    for name, matrix in table.modalities.items():
        if matrix.checksum != manifest.modalities[name].sha256:
            raise DataError(
                f"content table {directory} is damaged: '{name}' is not what its checksum says; build it again"
            )
    for name, column in table.columns.items():
        if column.checksum != manifest.columns[name].sha256:
            raise DataError(
                f"content table {directory} is damaged: column '{name}' is not what its checksum says; build it again"
            )
    if table.codes is not None and manifest.codes is not None and table.codes.checksum != manifest.codes.sha256:
        raise DataError(f"content table {directory} is damaged: {_CODES} is not what its checksum says; build it again")
    if table.version != manifest.version:
        raise DataError(
            f"content table {directory} is damaged: {artifact_files.ITEM_IDS} is not of its version; build it again"
        )
    return table


def _manifest(table: ItemContentTable) -> ContentManifest:
    return ContentManifest(
        format_version=_FORMAT_VERSION,
        version=table.version,
        items=len(table.item_ids),
        titles=table.titles is not None,
        modalities={
            name: ModalityManifest(
                width=matrix.width,
                source_width=matrix.source_width,
                dtype=matrix.storage_dtype,
                reduced=matrix.basis is not None,
                source=matrix.source,
                explained_variance=matrix.explained_variance,
                sha256=matrix.checksum,
                coverage=matrix.coverage,
                encoder=matrix.encoder,
            )
            for name, matrix in table.modalities.items()
        },
        columns={
            name: ColumnManifest(column.rows, column.width, column.checksum, column.coverage, column.scale)
            for name, column in table.columns.items()
        },
        codes=None
        if (codes := table.codes) is None
        else CodesManifest(codes.of, codes.size, codes.checksum, codes.report),
        retired=table.retired,
    )


def _read_codes(directory: Path, facts: CodesManifest) -> CodeTable:
    centres = np.load(directory / _CENTRES) if (directory / _CENTRES).exists() else None
    return CodeTable(np.load(directory / _CODES, mmap_mode="r"), facts.size, facts.of, facts.report, centres)


def _read_column(directory: Path, name: str, facts: ColumnManifest) -> ItemColumnTable:
    return ItemColumnTable(
        values=np.load(directory / f"{name}.npy", mmap_mode="r"),
        rows=facts.rows,
        names=tuple(read_json(directory / f"{name}.names.json")),
        coverage=facts.coverage,
        scale=facts.scale,
    )


def _read_matrix(directory: Path, name: str, facts: ModalityManifest) -> ContentMatrix:
    return ContentMatrix(
        vectors=np.load(directory / f"{name}.npy", mmap_mode="r"),
        present=np.load(directory / f"{name}.present.npy"),
        storage_dtype=facts.dtype,
        source=facts.source,
        source_width=facts.source_width,
        basis=np.load(directory / f"{name}.basis.npy") if facts.reduced else None,
        explained_variance=facts.explained_variance,
        coverage=facts.coverage,
        encoder=facts.encoder,
    )
