"""Reads tables batch by batch as Arrow columns; every row knows its file and its number there.

Parquet splits by row group, CSV and JSONL are read as one piece a file. Memory is bounded by a batch.
"""

from __future__ import annotations

import codecs
import contextlib
import dataclasses
import functools
import io
import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from serving.messages import first_line
from tfx_pipeline.config.tables import Interactions
from tfx_pipeline.data.logs.csv_records import BLOCK_BYTES, peek_csv, read_csv
from tfx_pipeline.data.logs.encodings import foreign_encoding
from tfx_pipeline.data.logs.files import LogFile, compression_of
from tfx_pipeline.errors import DataError

BATCH_ROWS = 65_536
_PEEKED_LINES = 1000
_PEEKED_BYTES = 1 << 16


@dataclasses.dataclass(frozen=True)
class Piece:
    """What one worker reads: a row group of a Parquet file, or a whole text file. `first_row` counts from 1."""

    file: LogFile
    row_group: int | None
    first_row: int


@dataclasses.dataclass
class RawBatch:
    """Columns as the file has them.

    `rows` int64 [n]: 1-based numbers (Parquet: row; CSV: record after the header; JSONL: line).
    `malformed`: (number, text) of what could not be split into columns.
    """

    columns: dict[str, pa.Array]
    rows: np.ndarray
    malformed: list[tuple[int, str]]

    @property
    def size(self) -> int:
        """Rows that were read, split into columns or not."""
        return len(self.rows) + len(self.malformed)

    def where(self, mask: np.ndarray) -> RawBatch:
        """The rows for which `mask`, bool [n], is true; what is malformed is left out."""
        chosen = pa.array(mask)
        return RawBatch({name: column.filter(chosen) for name, column in self.columns.items()}, self.rows[mask], [])


@dataclasses.dataclass(frozen=True)
class Peeked:
    """What a file's header or footer says.

    Attributes:
        columns: names and types. JSONL: the keys of the first 1,000 lines.
        filled: whether there is a row.
        twice: names that several columns have.
    """

    columns: dict[str, pa.DataType]
    filled: bool
    twice: frozenset[str] = frozenset()


_Reader = Callable[[BinaryIO, Piece, Sequence[str]], Iterator[RawBatch]]


def peek(file: LogFile) -> Peeked:
    """Looks at a file without reading its rows.

    Raises:
        DataError: the file cannot be opened or is not what its format says.
    """
    with _refusing(file, lambda: f"not a readable {file.format} file"):
        if file.format == "parquet":
            with _open(file) as stream:
                parquet = pa.parquet.ParquetFile(stream)
                schema = parquet.schema_arrow
                columns = dict(zip(schema.names, schema.types, strict=True))
                return Peeked(columns, parquet.metadata.num_rows > 0, _twice(schema.names))
        _check_encoding(file)
        with _open(file) as stream:
            if file.format == "jsonl":
                return _peek_json(stream)
            try:
                names, filled = peek_csv(stream, file)
            except pa.ArrowInvalid as error:
                if _is_empty_csv(error):
                    return Peeked({}, False)
                raise
            return Peeked(dict.fromkeys(names, pa.string()), filled, _twice(names))


def _check_encoding(file: LogFile) -> None:
    if not _is_utf8(file.encoding):
        return
    with _open(file, as_it_is=True) as stream:
        looks_like = foreign_encoding(stream.read(_PEEKED_BYTES))
    if looks_like is not None:
        raise DataError(f"{file.path}: is not UTF-8 and looks like {looks_like}; set encoding: {looks_like}")


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name == "utf-8"


def _twice(names: Sequence[str]) -> frozenset[str]:
    return frozenset(name for name, count in Counter(names).items() if count > 1)


@contextlib.contextmanager
def _refusing(file: LogFile, what: Callable[[], str]) -> Iterator[None]:
    """The boundary to the libraries that read files: whatever they raise is a `DataError` that names the file."""
    try:
        yield
    except DataError:
        raise
    # Arrow and the codecs raise KeyError, OverflowError, RuntimeError and more over files that are damaged.
    except Exception as error:
        missing = isinstance(error, BeamIOError) or (isinstance(error, OSError) and error.errno is not None)
        fault = "cannot be read" if missing else what()
        raise DataError(f"{file.path}: {fault}: {first_line(error)}") from None


def pieces(file: LogFile) -> Iterator[Piece]:
    """The parts of a file that can be read independently of each other."""
    if file.format != "parquet":
        yield Piece(file, None, 1)
        return
    with _open(file) as stream:
        metadata = pa.parquet.ParquetFile(stream).metadata
    first_row = 1
    for group in range(metadata.num_row_groups):
        yield Piece(file, group, first_row)
        first_row += metadata.row_group(group).num_rows


def read_file(file: LogFile, columns: Sequence[str], lists: Collection[str] = ()) -> Iterator[RawBatch]:
    """All batches of a file, as `read_piece` gives those of a piece."""
    for piece in pieces(file):
        yield from read_piece(piece, columns, lists)


def log_batches(
    part: LogFile | Piece, log: Interactions, columns: Sequence[str], lists: Collection[str] = ()
) -> Iterator[RawBatch]:
    """All batches of a file of the log, or of a piece of one, as `read_piece` gives them.

    Args:
        part: of the log.
        log: the section of the configuration.
        columns: to read.
        lists: those of them whose values may be lists, beside those that the section says.
    """
    lists = [name for name in columns if name in log.list_columns or name in lists]
    # A row may hold hundreds of impressions, which are taken apart a batch at a time.
    rows = BATCH_ROWS if log.impressions is None and log.columns.history is None else BATCH_ROWS // 16
    for piece in pieces(part) if isinstance(part, LogFile) else [part]:
        yield from read_piece(piece, columns, lists, rows)


def read_piece(
    piece: Piece, columns: Sequence[str], lists: Collection[str] = (), rows: int = BATCH_ROWS
) -> Iterator[RawBatch]:
    """Batches of at most about `rows` rows with the named columns; those of CSV have 4 MiB of the file.

    Args:
        piece: of a file.
        columns: to read.
        lists: those of them whose values may be lists; a single value of JSON becomes a list of one.
        rows: the most at once.

    Raises:
        DataError: the content is damaged; what was yielded before is sound.
    """
    read_json = functools.partial(_read_jsonl, lists=frozenset(lists), most=rows)
    read_parquet = functools.partial(_read_parquet, most=rows)
    readers: dict[str, _Reader] = {"parquet": read_parquet, "csv": _read_csv, "jsonl": read_json}
    read = readers[piece.file.format]
    last_row = piece.first_row - 1
    boundary = _refusing(piece.file, lambda: f"damaged {piece.file.format} file after row {last_row:,}")
    with boundary, _open(piece.file) as stream:
        try:
            for batch in read(stream, piece, columns):
                yield batch
                last_row = max([last_row, *batch.rows[-1:].tolist(), *(row for row, _ in batch.malformed[-1:])])
        except pa.ArrowInvalid as error:
            if not _is_empty_csv(error):
                raise


@contextlib.contextmanager
def _open(file: LogFile, *, as_it_is: bool = False) -> Iterator[BinaryIO]:
    """The file's bytes, decompressed and in UTF-8; with the header that a table gives, unless wanted as it is."""
    with _opened(file) as stream:
        if file.header is not None and not as_it_is:
            # All that is asked of it is to be read from, as of Beam's own.
            stream = cast(BinaryIO, _Headed(file.separator.join(file.header), stream))
        yield stream


class _Headed(io.RawIOBase):
    """A stream with a line before it."""

    def __init__(self, line: str, stream: BinaryIO) -> None:
        self._ready, self._stream = f"{line}\n".encode(), stream
        # A mark at the file's beginning would become part of its first value.
        self._ready += stream.read(3).removeprefix(codecs.BOM_UTF8)

    def read(self, size: int = -1) -> bytes:
        """As the stream does."""
        if size < 0:
            data, self._ready = self._ready + self._stream.read(), b""
        elif self._ready:
            data, self._ready = self._ready[:size], self._ready[size:]
        else:
            data = self._stream.read(size)
        return data

    def readable(self) -> bool:
        """Always."""
        return True


@contextlib.contextmanager
def _opened(file: LogFile) -> Iterator[BinaryIO]:
    with FileSystems.open(file.path, compression_type=CompressionTypes.UNCOMPRESSED) as stream:
        codec = compression_of(file.path)
        foreign = file.format != "parquet" and not _is_utf8(file.encoding)
        if codec is None and not foreign:
            yield stream
            return
        # Beam's own decompression gives a file that Arrow takes for closed.
        arrow = pa.PythonFile(stream, mode="r") if codec is None else pa.CompressedInputStream(stream, codec)
        if foreign:
            arrow = pa.transcoding_input_stream(arrow, file.encoding, "utf-8")
        with io.BufferedReader(arrow, BLOCK_BYTES) as text:
            yield text


def _read_parquet(stream: BinaryIO, piece: Piece, columns: Sequence[str], most: int) -> Iterator[RawBatch]:
    row = piece.first_row
    parquet = pa.parquet.ParquetFile(stream)
    for batch in parquet.iter_batches(most, row_groups=[piece.row_group], columns=list(columns)):
        numbers = np.arange(row, row + batch.num_rows, dtype=np.int64)
        yield RawBatch({name: batch.column(name) for name in columns}, numbers, [])
        row += batch.num_rows


def _is_empty_csv(error: Exception) -> bool:
    return isinstance(error, pa.ArrowInvalid) and "Empty CSV" in str(error)


def _read_csv(stream: BinaryIO, piece: Piece, columns: Sequence[str]) -> Iterator[RawBatch]:
    for batch in read_csv(stream, piece.file, columns, lambda: _open(piece.file)):
        yield RawBatch(*batch)


def _read_jsonl(
    stream: BinaryIO, piece: Piece, columns: Sequence[str], lists: frozenset[str], most: int
) -> Iterator[RawBatch]:
    values: list[list[Any]] = [[] for _ in columns]
    rows: list[int] = []
    malformed: list[tuple[int, str]] = []
    for number, line in enumerate(_lines(stream), start=piece.first_row):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            texts = [(_json_list if name in lists else _json_text)(name, record.get(name)) for name in columns]
        except (ValueError, AttributeError, RecursionError) as error:
            shown = line.decode("utf-8", "backslashreplace").rstrip("\r\n")
            malformed.append((number, f"{first_line(error)}: {shown}"))
        else:
            rows.append(number)
            for column, text in zip(values, texts, strict=True):
                column.append(text)
        if len(rows) + len(malformed) >= most:
            yield _json_batch(columns, values, rows, malformed, lists)
            values, rows, malformed = [[] for _ in columns], [], []
    if rows or malformed:
        yield _json_batch(columns, values, rows, malformed, lists)


def _json_batch(
    columns: Sequence[str],
    values: list[list[Any]],
    rows: list[int],
    malformed: list[tuple[int, str]],
    lists: frozenset[str],
) -> RawBatch:
    kinds = [pa.large_list(pa.large_string()) if name in lists else pa.large_string() for name in columns]
    arrays = {name: pa.array(column, kind) for name, column, kind in zip(columns, values, kinds, strict=True)}
    return RawBatch(arrays, np.array(rows, dtype=np.int64), malformed)


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    first = True
    while line := stream.readline():
        yield line.removeprefix(b"\xef\xbb\xbf") if first else line
        first = False


def _json_list(name: str, value: Any) -> list[str | None] | None:
    if isinstance(value, list):
        return [_json_text(name, entry) for entry in value]
    return None if value is None else [_json_text(name, value)]


def _json_text(name: str, value: Any) -> str | None:
    if value is None or isinstance(value, str):
        # A lone surrogate (JSON "\ud800") is no text that can be stored.
        return value if value is None or value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        # NaN, which Python and Spark write for a missing number, is no JSON and yet what they mean.
        return None if math.isnan(value) else str(int(value)) if value.is_integer() else repr(value)
    raise ValueError(f"'{name}' is a {type(value).__name__} and not a single value")


def _peek_json(stream: BinaryIO) -> Peeked:
    names: dict[str, pa.DataType] = {}
    filled = False
    for number, line in enumerate(_lines(stream)):
        if number >= _PEEKED_LINES:
            break
        if not line.strip():
            continue
        filled = True
        try:
            names.update(dict.fromkeys(json.loads(line), pa.string()))
        except (ValueError, TypeError, RecursionError):
            continue
    return Peeked(names, filled)
