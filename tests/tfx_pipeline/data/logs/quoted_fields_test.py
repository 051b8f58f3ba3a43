"""What is lost of a CSV file whose quotes are not quotes: nothing, or the run."""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfx_pipeline.config.tables import Table
from tfx_pipeline.data.logs import csv_records, quoted_fields
from tfx_pipeline.data.logs.files import list_files
from tfx_pipeline.data.logs.quoted_fields import CsvRules, count_lines
from tfx_pipeline.data.logs.reader import peek, pieces, read_piece
from tfx_pipeline.errors import DataError


def _rows(path: Path, column: str, **table: str) -> list[str | None]:
    [file] = list_files(Table(path=path, **table))
    assert column in peek(file).columns
    found, malformed = [], []
    for piece in pieces(file):
        for batch in read_piece(piece, [column]):
            malformed += batch.malformed
            found += [None if value is None else value.decode() for value in batch.columns[column].to_pylist()]
    assert not malformed
    return found


def _table(rows: int, separator: str, last: dict[int, str]) -> str:
    lines = [separator.join(("user", "item", "time", "click", "query"))]
    lines += [separator.join((f"u{i}", f"i{i}", str(i), "0", last.get(i, "tv"))) for i in range(rows)]
    return "\n".join(lines) + "\n"


def test_in_a_tsv_a_quote_is_a_character(tmp_path: Path) -> None:
    path = tmp_path / "log.tsv"
    path.write_text(_table(960, "\t", {100: '"50 inch tv', 500: '"60 inch tv'}))
    assert _rows(path, "user", separator="\t") == [f"u{i}" for i in range(960)]
    assert _rows(path, "query", separator="\t")[100] == '"50 inch tv'


@pytest.mark.parametrize(
    "last",
    [
        {100: '"50 inch', 500: '"60 inch'},
        {100: '"50 inch'},
        {100: '"50 inch', 101: '"60 inch'},
        # The quotes open and close as RFC 4180 has it, and yet they took 400 rows, or one.
        {100: '"50 inch', 500: '60"'},
        {100: '"50 inch', 101: '60"'},
        {100: r'"ends with \""', 101: "tv"},
        # The quote that ends it stands where a row was cut short.
        {100: '"50 inch', 500: 'tv"\n60 inch'},
    ],
)
@pytest.mark.parametrize("block", [64, csv_records.BLOCK_BYTES])
def test_a_field_that_swallows_rows_stops_the_run(
    tmp_path: Path, last: dict[int, str], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_records, "BLOCK_BYTES", max(block, 64))
    monkeypatch.setattr(quoted_fields, "_BLOCK_BYTES", block)
    path = tmp_path / "log.csv"
    path.write_text(_table(960, ",", last))
    with pytest.raises(DataError, match=r"log\.csv: the quoted field that begins in line 102 .*set quoting: none"):
        _rows(path, "user")
    if not any("\\" in value or "\n" in value for value in last.values()):
        assert _rows(path, "user", quoting="none") == [f"u{i}" for i in range(960)]


def test_escaped_quotes(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(_table(9, ",", {3: r'"ends with \""', 5: r'"a \"b\", c"', 7: '"two\nlines"'}))
    assert _rows(path, "user", escape="\\") == [f"u{i}" for i in range(9)]
    queries = _rows(path, "query", escape="\\")
    assert (queries[3], queries[5], queries[7]) == ('ends with "', 'a "b", c', "two\nlines")


def test_texts_of_several_lines_are_values(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    texts = ["one", "two\nlines, and a comma", 'a "quote"\r\n\r\nand a blank line', "", "x" * 300 + "\n" * 30 + "end"]
    with path.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerows([("id", "title"), *((f"i{i}", text) for i, text in enumerate(texts * 20))])
    assert _rows(path, "id") == [f"i{i}" for i in range(100)]
    assert _rows(path, "title") == [text or None for text in texts * 20]


def test_a_field_of_too_many_lines_is_no_value(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text('id,title\n1,"' + "some words\n" * 1000 + 'end"\n')
    with pytest.raises(DataError, match="holds 1001 lines, more than 1000"):
        _rows(path, "id")


_FIELDS = st.text(st.sampled_from('ab ",\n\r'), max_size=8)


@given(
    st.lists(st.tuples(_FIELDS, _FIELDS, st.just("z")), max_size=8),
    st.sampled_from(["\n", "\r\n"]),
    st.integers(1, 40),
    st.booleans(),
)
def test_records_are_counted_as_pythons_reader_counts_them(rows, end, block, last_end) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([("a", "b", "c"), *rows])
    data = text.getvalue().encode()
    data = data if last_end else data.removesuffix(end.encode())
    # Of one column no field looks like rows; the count does not hang on it.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quoted_fields, "_BLOCK_BYTES", block)
        counted = count_lines(io.BytesIO(data), "a.csv", CsvRules(",", True, None, 1))
    assert counted.records == 1 + len(rows)


@pytest.mark.parametrize("seed", range(50))
def test_no_row_is_lost_in_silence_whatever_is_mutated(tmp_path: Path, seed: int) -> None:
    random_numbers = random.Random(seed)
    text = bytearray(_table(200, ",", {}).encode())
    for _ in range(random_numbers.randint(1, 6)):
        place = random_numbers.randrange(len("user,item,time,click,query\n"), len(text))
        text[place : place + random_numbers.randint(0, 1)] = random_numbers.choice(
            [b'"', b'""', b",", b"\n", b"\r", b"\\", b'"\n', b',"', b"\xff", b"\0"]
        )
    path = tmp_path / "log.csv"
    path.write_bytes(bytes(text))
    [file] = list_files(Table(path=path))
    physical = sum(1 for line in bytes(text).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n") if line) - 1
    read = 0
    try:
        for piece in pieces(file):
            for batch in read_piece(piece, ["user"]):
                read += len(batch.rows) + len(batch.malformed)
    except DataError:
        return
    # Every line is a record or lies inside a field that reads as text does.
    inside = count_lines(io.BytesIO(bytes(text)), "log.csv", CsvRules(",", True, None, 5)).inside_fields
    assert read + inside == physical
