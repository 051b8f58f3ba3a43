"""Embedding files as blocks of rows, so that a table of a million items never stands in memory as a whole."""

from __future__ import annotations

import contextlib
import os
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from serving.messages import first_line
from tfx_pipeline.config.content import Modality
from tfx_pipeline.data.logs import values
from tfx_pipeline.errors import DataError
from tfx_pipeline.files.listing import find_files

_BLOCK_ROWS = 16_384
ENDINGS = (".parquet", ".npz")
ENCODER = b"dmf_encoder"
"""Key in a Parquet file's metadata: the digest of the encoder that `dmf encode` ran."""


class EmbeddingFile(ABC):
    """One file of (item id, embedding) rows.

    Attributes:
        file: where it lies.
        rows: number of rows.
        width: of its embeddings; None for a Parquet file whose rows are all null or absent.
        encoder: digest of the encoder that made them; None where the file does not say.
    """

    encoder: str | None = None

    def __init__(self, file: Path, key: str):
        self.file, self._key = file, key
        self.rows: int
        self.width: int | None

    def ids(self) -> pa.Array:
        """large_string [rows], in the form that ids of the log have; nulls where the file has none."""
        with reading_embeddings(self._key, self.file):
            column = self._read_ids()
            if not values.usable_as_id(column.type):
                raise DataError(f"{self._key}: ids of {self.file} must be text or numbers, they are {column.type}")
            return pa.concat_arrays([pa.array([], pa.large_string()), *map(values.text, column.chunks)])

    def blocks(self, ids: pa.Array) -> Iterator[np.ndarray]:
        """Embeddings as finite float32 [block, width] in the file's order; a null embedding is a row of zeros.

        Args:
            ids: what `ids()` gave, so that a refusal can name the item.

        Raises:
            DataError: a row of another width, NaN or an infinite value; the item is named.
        """
        start, remaining = 0, self._read_blocks(ids)
        while True:
            with reading_embeddings(self._key, self.file, start):
                block = next(remaining, None)
            if block is None:
                return
            # A float64 beyond float32's range becomes infinite here, and is refused as such.
            with np.errstate(over="ignore"):
                block = np.ascontiguousarray(block, dtype=np.float32)
            # Without a mask of the block's size: a float64 sum of float32 values is finite exactly if all of them are.
            if not np.isfinite(block.sum(dtype=np.float64)):
                row = start + int(np.argmin(np.isfinite(block).all(axis=1)))
                raise self._refuse(ids, row, "holds NaN or an infinite value; repair or remove it")
            yield block
            start += len(block)

    @abstractmethod
    def _read_ids(self) -> pa.ChunkedArray: ...

    @abstractmethod
    def _read_blocks(self, ids: pa.Array) -> Iterator[np.ndarray]: ...

    def _refuse(self, ids: pa.Array, row: int, problem: str) -> DataError:
        return DataError(f"{self._key}: item '{ids[row]}' of {self.file} {problem}")


class ParquetEmbeddings(EmbeddingFile):
    """An id column beside a column of lists of numbers."""

    def __init__(self, file: Path, modality: Modality, key: str):
        super().__init__(file, key)
        self._id_column, self._column = modality.id_column, modality.embedding_column
        schema = pq.read_schema(file)
        digest = (schema.metadata or {}).get(ENCODER)
        self.encoder = None if digest is None else digest.decode()
        for column in (self._id_column, self._column):
            if column not in schema.names:
                raise DataError(f"{key}: {file} has no column '{column}'; it has: {', '.join(schema.names)}")
            if schema.names.count(column) > 1:
                raise DataError(f"{key}: {file} has several columns '{column}'; rename or remove all but one of them")
        kind = schema.field(self._column).type
        if not values.is_list(kind) or not (
            pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)
        ):
            raise DataError(f"{key}: column '{self._column}' of {file} must hold lists of numbers, it holds {kind}")
        with pq.ParquetFile(file) as opened:
            self.rows = opened.metadata.num_rows
            self.width = next((width for batch in self._batches(opened, 64) if (width := _first_width(batch))), None)

    def _read_ids(self) -> pa.ChunkedArray:
        # Not by read_table, which invents columns from the names of the folders above.
        with self._opened() as opened:
            return opened.read([self._id_column])[self._id_column]

    def _read_blocks(self, ids: pa.Array) -> Iterator[np.ndarray]:
        start = 0
        with self._opened() as opened:
            for rows in self._batches(opened, _BLOCK_ROWS):
                yield self._dense(rows, ids, start)
                start += len(rows)

    def _opened(self) -> pq.ParquetFile:
        # What a damaged disk changed is told by the checksums that `dmf encode` writes, where a file has some.
        return pq.ParquetFile(self.file, page_checksum_verification=True)

    def _batches(self, opened: pq.ParquetFile, rows: int) -> Iterator[pa.Array]:
        for batch in opened.iter_batches(batch_size=rows, columns=[self._column]):
            yield batch.column(0)

    def _dense(self, rows: pa.Array, ids: pa.Array, start: int) -> np.ndarray:
        widths = pc.list_value_length(rows)
        wrong = pc.not_equal(widths, self.width or 0)
        if pc.any(wrong).as_py():
            at = pc.index(wrong, True).as_py()
            problem = f"is {widths[at]} wide, the first embedding is {self.width} wide; all must be alike"
            raise self._refuse(ids, start + at, problem)
        given = rows.is_valid().to_numpy(zero_copy_only=False)
        numbers = rows.flatten()
        if numbers.null_count:
            at = np.flatnonzero(given)[pc.index(pc.is_null(numbers), True).as_py() // self.width]
            raise self._refuse(ids, start + int(at), "holds a null among its values; repair or remove it")
        dense = numbers.to_numpy().reshape(-1, self.width or 0)
        if given.all():
            return np.asarray(dense)
        block = np.zeros((len(rows), dense.shape[1]), dense.dtype)
        block[given] = dense
        return block


def _first_width(batch: pa.Array) -> int | None:
    width: int | None = pc.first(pc.list_value_length(batch), skip_nulls=True).as_py()
    return width


class NpzEmbeddings(EmbeddingFile):
    """Two arrays of one `.npz`: ids [rows] and embeddings [rows, width]."""

    def __init__(self, file: Path, modality: Modality, key: str):
        super().__init__(file, key)
        self._id_array, self._array = modality.id_column, modality.embedding_column
        with zipfile.ZipFile(file) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
        for name in (self._id_array, self._array):
            if name not in names:
                raise DataError(f"{key}: {file} has no array '{name}'; it has: {', '.join(names)}")
        id_shape, _, id_dtype = self._header(self._id_array)
        if id_dtype.kind not in "USiuf":
            raise DataError(f"{key}: ids '{self._id_array}' of {file} must be text or numbers, they are {id_dtype}")
        shape, self._column_major, self._dtype = self._header(self._array)
        if len(shape) != 2 or self._dtype.kind not in "fiu":
            raise DataError(
                f"{key}: array '{self._array}' of {file} must be numbers [rows, width], it is {self._dtype} {shape}"
            )
        if id_shape != shape[:1]:
            raise DataError(
                f"{key}: array '{self._id_array}' of {file} must be [{shape[0]}] as '{self._array}' is {list(shape)}, "
                f"it is {list(id_shape)}"
            )
        self.rows, self.width = self._shape = shape

    def _read_ids(self) -> pa.ChunkedArray:
        with np.load(self.file) as arrays:
            return pa.chunked_array([arrays[self._id_array]])

    def _read_blocks(self, ids: pa.Array) -> Iterator[np.ndarray]:
        if self._column_major:
            with np.load(self.file) as arrays:
                yield arrays[self._array]
            return
        with zipfile.ZipFile(self.file) as archive, archive.open(f"{self._array}.npy") as stream:
            _read_header(stream)
            _, width = self._shape
            for start in range(0, self.rows, _BLOCK_ROWS):
                rows = min(_BLOCK_ROWS, self.rows - start)
                numbers = np.frombuffer(stream.read(rows * width * self._dtype.itemsize), self._dtype)
                yield numbers.reshape(rows, width)

    def _header(self, name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
        with zipfile.ZipFile(self.file) as archive, archive.open(f"{name}.npy") as stream:
            return _read_header(stream)


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether column-major, and dtype; leaves the stream at the first value."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(stream)


def open_embeddings(name: str, modality: Modality) -> list[EmbeddingFile]:
    """The files of one modality, opened and checked as far as their headers tell.

    Args:
        name: the modality, for messages.
        modality: its section of the configuration.

    Raises:
        DataError: no file, unknown format, unreadable, a missing column or array, or a width other than configured.
    """
    key = f"content.modalities.{name}"
    files = []
    for file in _find_files(modality.path, f"{key}.path"):
        kind = {".parquet": ParquetEmbeddings, ".npz": NpzEmbeddings}.get(file.suffix.lower())
        if kind is None:
            raise DataError(f"{key}: the format of {file} is unknown; embeddings are read from {' and '.join(ENDINGS)}")
        with reading_embeddings(key, file):
            files.append(kind(file, modality, key))
    widths = {source.width: source.file for source in files if source.width is not None}
    if not widths:
        raise DataError(f"{key}: {modality.path} holds no embedding")
    if len(widths) > 1:
        found = ", ".join(f"{width} in {file.name}" for width, file in widths.items())
        raise DataError(f"{key}: all files must have embeddings of one width, found {found}")
    width = next(iter(widths))
    if modality.width not in (None, width):
        item = next(source for source in files if source.width == width)
        raise DataError(
            f"{key}: embeddings of {item.file} are {width} wide (first item '{item.ids()[0]}'), the configuration "
            f"expects {modality.width}; give the right file or set {key}.width"
        )
    if modality.dim is not None and modality.dim > width:
        raise DataError(f"{key}.dim: cannot reduce {width} wide embeddings to {modality.dim}; give at most {width}")
    return files


@contextlib.contextmanager
def reading_embeddings(key: str, file: Path, row: int | None = None) -> Iterator[None]:
    """The boundary to the libraries that read embeddings: whatever they raise is a `DataError` that names the file."""
    try:
        yield
    except DataError:
        raise
    # Of damaged files and foreign types Arrow, NumPy and zipfile raise KeyError, OverflowError, RuntimeError and more.
    except Exception as error:
        where = "" if row is None else f" after row {row:,}"
        raise DataError(f"{key}: cannot read {file}{where}: {first_line(error)}") from None


def _find_files(path: Path, key: str) -> list[Path]:
    """The file itself, what a glob matches, or everything of known endings below a directory; sorted, at least one."""
    try:
        found = find_files(path)
    except DataError as error:
        parent = next((ancestor for ancestor in (path, *path.parents) if os.path.isdir(ancestor)), path)
        there = ", ".join(sorted(os.listdir(parent))[:10]) or "nothing"
        raise DataError(f"{key}: {error}; {parent} holds: {there}") from None
    files = [Path(file.path) for file in found if file.named or Path(file.path).suffix.lower() in ENDINGS]
    if not files:
        there = ", ".join(sorted(os.path.basename(file.path) for file in found)[:10])
        raise DataError(f"{key}: no embedding file ({' or '.join(ENDINGS)}) at {path}; it holds: {there}")
    return files
