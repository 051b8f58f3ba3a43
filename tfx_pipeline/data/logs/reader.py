"""Reads tables batch by batch as Arrow columns; every row knows its file and its number there.

Parquet splits by row group, CSV and JSONL are read as one piece a file. Memory is bounded by a batch. CSV columns are
read as text, so a value that cannot be parsed is a bad row and not the end of the run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from tfx_pipeline.data.logs.files import LogFile, compression_of
from tfx_pipeline.errors import DataError

BATCH_ROWS = 65_536
_CSV_BLOCK_BYTES = 4 << 20
_PEEKED_LINES = 1000


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


def peek(file: LogFile) -> tuple[dict[str, pa.DataType], bool]:
    """Column names with types, and whether there is a row, without reading the rows.

    JSONL: the keys of the first 1,000 lines.

    Raises:
        DataError: the file cannot be opened or is not what its format says.
    """
    try:
        if file.format == "parquet":
            with _open(file) as stream:
                parquet = pa.parquet.ParquetFile(stream)
                schema = parquet.schema_arrow
                return dict(zip(schema.names, schema.types, strict=True)), parquet.metadata.num_rows > 0
        if file.format == "csv":
            with _open(file) as stream:
                # Rows of the wrong width are for the quarantine; here they only show that there are rows.
                wrong_width: list[int] = []

                def skip(row: object) -> str:
                    wrong_width.append(1)
                    return "skip"

                reader = _open_csv(stream, file.separator, None, skip)
                names = reader.schema.names
                twice = sorted({name for name in names if names.count(name) > 1})
                if twice:
                    raise DataError(f"{file.path}: columns named twice in the header: {', '.join(twice)}")
                filled = bool(wrong_width) or any(batch.num_rows for batch in reader)
                return dict.fromkeys(names, pa.string()), filled
        with _open(file) as stream:
            return _peek_json(stream)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        if _is_empty_csv(error):
            return {}, False
        raise DataError(f"{file.path}: not a readable {file.format} file: {error}") from None
    except (OSError, EOFError, BeamIOError) as error:
        raise DataError(f"{file.path}: cannot be read: {error}") from None


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


def read_piece(piece: Piece, columns: Sequence[str]) -> Iterator[RawBatch]:
    """Batches of at most about 65,536 rows with the named columns.

    Raises:
        DataError: the content is damaged; what was yielded before is sound.
    """
    read = {"parquet": _read_parquet, "csv": _read_csv, "jsonl": _read_jsonl}[piece.file.format]
    try:
        with _open(piece.file) as stream:
            yield from read(stream, piece, columns)
    except (pa.ArrowException, OSError, EOFError, BeamIOError) as error:
        if _is_empty_csv(error):
            return
        raise DataError(f"{piece.file.path}: damaged {piece.file.format} file: {error}") from None


@contextlib.contextmanager
def _open(file: LogFile) -> Iterator[BinaryIO]:
    with FileSystems.open(file.path, compression_type=CompressionTypes.UNCOMPRESSED) as stream:
        codec = compression_of(file.path)
        if codec is None:
            yield stream
        else:
            # Beam's own decompression gives a file that Arrow takes for closed.
            with io.BufferedReader(pa.CompressedInputStream(stream, codec), _CSV_BLOCK_BYTES) as decompressed:
                yield decompressed


def _read_parquet(stream: BinaryIO, piece: Piece, columns: Sequence[str]) -> Iterator[RawBatch]:
    row = piece.first_row
    parquet = pa.parquet.ParquetFile(stream)
    for batch in parquet.iter_batches(BATCH_ROWS, row_groups=[piece.row_group], columns=list(columns)):
        numbers = np.arange(row, row + batch.num_rows, dtype=np.int64)
        yield RawBatch({name: batch.column(name) for name in columns}, numbers, [])
        row += batch.num_rows


def _is_empty_csv(error: Exception) -> bool:
    return isinstance(error, pa.ArrowInvalid) and "Empty CSV" in str(error)


def _open_csv(stream: BinaryIO, separator: str, columns: Sequence[str] | None, on_wrong_width: Any) -> Any:
    return pa.csv.open_csv(
        stream,
        pa.csv.ReadOptions(use_threads=False, block_size=_CSV_BLOCK_BYTES),
        pa.csv.ParseOptions(delimiter=separator, newlines_in_values=True, invalid_row_handler=on_wrong_width),
        # Bytes, not text: ids in another encoding are decoded later instead of ending the run.
        pa.csv.ConvertOptions(
            column_types=dict.fromkeys(columns or (), pa.binary()),
            include_columns=list(columns or ()),
            strings_can_be_null=True,
            null_values=[""],
            check_utf8=False,
        ),
    )


def _read_csv(stream: BinaryIO, piece: Piece, columns: Sequence[str]) -> Iterator[RawBatch]:
    skipped: list[tuple[int, str]] = []

    def on_wrong_width(row: Any) -> str:
        # Arrow counts the header as row 1.
        text = f"{row.actual_columns} fields instead of {row.expected_columns}: {row.text}"
        skipped.append((row.number - 1, text))
        return "skip"

    reported = 0
    next_row = piece.first_row
    for batch in _open_csv(stream, piece.file.separator, columns, on_wrong_width):
        # The parser is ahead of the batches, so every skipped row before the end of this batch is known.
        missing = np.array([number for number, _ in skipped], dtype=np.int64)
        numbers = _without(missing, next_row, batch.num_rows)
        if batch.num_rows:
            next_row = int(numbers[-1]) + 1
        yield RawBatch(
            {name: batch.column(name) for name in columns},
            numbers,
            skipped[reported:],
        )
        reported = len(skipped)
    if skipped[reported:]:
        yield RawBatch(
            {name: pa.array([], pa.binary()) for name in columns}, np.array([], np.int64), skipped[reported:]
        )


def _without(missing: np.ndarray, start: int, count: int) -> np.ndarray:
    """The first `count` integers from `start` on that are not in `missing`."""
    relevant = missing[missing >= start]
    candidates = np.arange(start, start + count + len(relevant), dtype=np.int64)
    return candidates[~np.isin(candidates, relevant)][:count]


def _read_jsonl(stream: BinaryIO, piece: Piece, columns: Sequence[str]) -> Iterator[RawBatch]:
    values: list[list[str | None]] = [[] for _ in columns]
    rows: list[int] = []
    malformed: list[tuple[int, str]] = []
    for number, line in enumerate(_lines(stream), start=piece.first_row):
        if not line.strip():
            continue
        try:
            record = json.loads(line, parse_constant=_refuse_constant)
            texts = [_json_text(record.get(name)) for name in columns]
        except (ValueError, AttributeError, RecursionError):
            malformed.append((number, line.decode("utf-8", "backslashreplace").rstrip("\r\n")))
        else:
            rows.append(number)
            for column, text in zip(values, texts, strict=True):
                column.append(text)
        if len(rows) + len(malformed) >= BATCH_ROWS:
            yield _json_batch(columns, values, rows, malformed)
            values, rows, malformed = [[] for _ in columns], [], []
    if rows or malformed:
        yield _json_batch(columns, values, rows, malformed)


def _json_batch(
    columns: Sequence[str], values: list[list[str | None]], rows: list[int], malformed: list[tuple[int, str]]
) -> RawBatch:
    arrays = {name: pa.array(column, pa.large_string()) for name, column in zip(columns, values, strict=True)}
    return RawBatch(arrays, np.array(rows, dtype=np.int64), malformed)


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    first = True
    while line := stream.readline():
        yield line.removeprefix(b"\xef\xbb\xbf") if first else line
        first = False


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _json_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        # A lone surrogate (JSON "\ud800") is no text that can be stored.
        return value if value is None or value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    raise ValueError(f"a {type(value).__name__} is not a single value")


def _peek_json(stream: BinaryIO) -> tuple[dict[str, pa.DataType], bool]:
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
    return names, filled
