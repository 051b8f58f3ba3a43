"""Records of CSV files as Arrow columns, and the proof that none is missing.

Columns are read as bytes, so a value that cannot be parsed is a bad row and not the end of the run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv

from tfx_pipeline.data.logs.encodings import Utf8Stream, without_stand_ins
from tfx_pipeline.data.logs.files import LogFile
from tfx_pipeline.data.logs.quoted_fields import CsvRules, count_lines
from tfx_pipeline.errors import DataError

BLOCK_BYTES = 4 << 20
# Opens the file's text once more, from its beginning.
Reopen = Callable[[], Any]


def peek_csv(stream: BinaryIO, file: LogFile) -> tuple[list[str], bool]:
    """Names in the header, and whether a row follows.

    Raises:
        pa.ArrowInvalid: not a CSV file.
    """
    # Rows of the wrong width are for the quarantine; here they only show that there are rows.
    wrong_width: list[int] = []

    def skip(row: object) -> str:
        wrong_width.append(1)
        return "skip"

    reader = _open(Utf8Stream(stream), file, None, skip)
    return reader.schema.names, bool(wrong_width) or any(batch.num_rows for batch in reader)


def read_csv(
    stream: BinaryIO, file: LogFile, columns: Sequence[str], reopen: Reopen
) -> Iterator[tuple[dict[str, pa.Array], np.ndarray, list[tuple[int, str]]]]:
    """Batches of a whole file: columns as `binary`, numbers int64 of their records, what is malformed by its number.

    Raises:
        pa.ArrowInvalid: the file is damaged.
        DataError: a quoted field swallowed rows, or the file has another number of records than were read.
    """
    text, skipped = Utf8Stream(stream), list[tuple[int, str]]()
    counted = _CountedLines(text)
    records = reported = 0

    def on_wrong_width(row: Any) -> str:
        # Arrow counts the header as row 1.
        shown = without_stand_ins(row.text.encode()).decode("utf-8", "backslashreplace")
        skipped.append((row.number - 1, f"{row.actual_columns} fields instead of {row.expected_columns}: {shown}"))
        return "skip"

    next_row = 1
    try:
        for batch in _open(counted, file, columns, on_wrong_width):
            # The parser is ahead of the batches, so every skipped row before the end of this batch is known.
            missing = np.array([number for number, _ in skipped], dtype=np.int64)
            numbers = _without(missing, next_row, batch.num_rows)
            if batch.num_rows:
                next_row = int(numbers[-1]) + 1
            values = {name: batch.column(name) for name in columns}
            if text.replaced:
                values = {name: _as_in_the_file(column) for name, column in values.items()}
            # Arrow reads ahead in a thread of its own: what is skipped meanwhile is for the next batch.
            new = skipped[reported:]
            reported += len(new)
            records += batch.num_rows
            yield values, numbers, new
    except pa.ArrowInvalid:
        # What the parser says of a quote without end is about its blocks. The lines tell where it is.
        _records(file, reopen)
        raise
    if skipped[reported:]:
        yield {name: pa.array([], pa.binary()) for name in columns}, np.array([], np.int64), skipped[reported:]
    records += len(skipped)
    if counted.lines != 1 + records:
        # Blank lines, fields of several lines, or lost rows.
        there = _records(file, reopen) - 1
        if there != records:
            raise DataError(
                f"{file.path}: has {there:,} records after the header, of which {records:,} were read; check quoting, "
                f"escape and separator of the table"
            )


def _records(file: LogFile, reopen: Reopen) -> int:
    """Records of the file, the header among them, by its lines."""
    columns = 1
    with contextlib.suppress(pa.ArrowInvalid), reopen() as stream:
        columns = len(_open(Utf8Stream(stream), file, None, lambda row: "skip").schema.names)
    with reopen() as stream:
        rules = CsvRules(file.separator, file.quoted, file.escape, columns, added=int(file.header is not None))
        return count_lines(stream, file.path, rules).records


def _open(stream: Any, file: LogFile, columns: Sequence[str] | None, on_wrong_width: Any) -> Any:
    return pa.csv.open_csv(
        stream,
        pa.csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
        pa.csv.ParseOptions(
            delimiter=file.separator,
            quote_char='"' if file.quoted else False,
            escape_char=file.escape or False,
            newlines_in_values=file.quoted or file.escape is not None,
            invalid_row_handler=on_wrong_width,
        ),
        # Bytes, not text: ids in another encoding are decoded later instead of ending the run.
        pa.csv.ConvertOptions(
            column_types=dict.fromkeys(columns or (), pa.binary()),
            include_columns=list(columns or ()),
            strings_can_be_null=True,
            null_values=[""],
            check_utf8=False,
        ),
    )


class _CountedLines:
    """A stream that counts the lines which are read through it."""

    closed = False

    def __init__(self, stream: Utf8Stream) -> None:
        self._stream = stream
        self._ends = 0
        self._last = b"\n"

    @property
    def lines(self) -> int:
        """Lines so far, the last one also if it has no end."""
        return self._ends + (self._last != b"\n")

    def read(self, size: int = -1) -> bytes:
        """As the stream does."""
        data = self._stream.read(size)
        if data:
            self._ends += int(np.count_nonzero(np.frombuffer(data, np.uint8) == ord("\n")))
            self._last = data[-1:]
        return data

    def readable(self) -> bool:
        """Always."""
        return True


def _as_in_the_file(column: pa.Array) -> pa.Array:
    return pa.array([without_stand_ins(value) for value in column.to_pylist()], pa.binary())


def _without(missing: np.ndarray, start: int, count: int) -> np.ndarray:
    """The first `count` integers from `start` on that are not in `missing`."""
    relevant = missing[missing >= start]
    candidates = np.arange(start, start + count + len(relevant), dtype=np.int64)
    return candidates[~np.isin(candidates, relevant)][:count]
