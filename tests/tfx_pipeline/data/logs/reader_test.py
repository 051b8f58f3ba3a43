from __future__ import annotations

import bz2
import gzip
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.config.tables import Interactions
from tfx_pipeline.data.logs import csv_records, reader, values
from tfx_pipeline.data.logs.files import LogFile, format_of, list_files
from tfx_pipeline.data.logs.reader import Peeked, peek, pieces, read_piece
from tfx_pipeline.errors import DataError


def _file(path: Path, separator: str = ",") -> LogFile:
    return LogFile(0, str(path), format_of(str(path)), separator)


def _read(path: Path, *columns: str, separator: str = ",") -> tuple[list[tuple], list[tuple[int, str]]]:
    """(row number, column texts) of every row, and what was malformed."""
    rows: list[tuple] = []
    malformed: list[tuple[int, str]] = []
    for piece in pieces(_file(path, separator)):
        for batch in read_piece(piece, columns):
            texts = [values.text(batch.columns[name]).to_pylist() for name in columns]
            rows.extend(zip(batch.rows.tolist(), *texts, strict=True))
            malformed.extend(batch.malformed)
    return rows, malformed


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "BATCH_ROWS", 2)
    monkeypatch.setattr(csv_records, "BLOCK_BYTES", 16)


@pytest.mark.usefixtures("small_blocks")
def test_parquet_row_groups_are_pieces_and_rows_count_on(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table({"a": list("vwxyz"), "b": range(5)}), path, row_group_size=3)
    assert [(p.row_group, p.first_row) for p in pieces(_file(path))] == [(0, 1), (1, 4)]
    rows, malformed = _read(path, "b", "a")
    assert rows == [(1, "0", "v"), (2, "1", "w"), (3, "2", "x"), (4, "3", "y"), (5, "4", "z")]
    assert malformed == []


@pytest.mark.usefixtures("small_blocks")
def test_csv_keeps_numbers_right_around_rows_of_the_wrong_width(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(b'a,b\n1,2\n3\n4,5\n6,7,8\n"x\ny","p,q"\n,\n9,\xff\n10\n')
    rows, malformed = _read(path, "a", "b")
    assert rows == [(1, "1", "2"), (3, "4", "5"), (5, "x\ny", "p,q"), (6, None, None), (7, "9", "\\xff")]
    assert [number for number, _ in malformed] == [2, 4, 8]
    assert malformed[1][1] == "3 fields instead of 2: 6,7,8"


@pytest.mark.parametrize("wrong", [b"\xff\xfe,4,5", b"caf\xe9", "ключ,".encode() + b"\xd0,2", b"\xf0\x9f\x98,1,2"])
def test_a_row_of_the_wrong_width_may_hold_bytes_that_are_not_utf8(wrong: bytes, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(b"a,b\n1,2\n" + wrong + b"\nna\xefve,\xf4\x8f\n" + "é,6\n".encode())
    rows, malformed = _read(path, "a", "b")
    assert rows == [(1, "1", "2"), (3, "na\\xefve", "\\xf4\\x8f"), (4, "é", "6")]
    [(number, text)] = malformed
    assert number == 2
    assert text.endswith(f": {wrong.decode('utf-8', 'backslashreplace')}")


def test_csv_separator_byte_order_mark_and_text_types(tmp_path: Path) -> None:
    path = tmp_path / "log.tsv"
    path.write_bytes(b"\xef\xbb\xbfid\tflag\n007\ttrue\n1e3\tno\n")
    rows, _ = _read(path, "id", "flag", separator="\t")
    assert rows == [(1, "007", "true"), (2, "1e3", "no")]


@pytest.mark.usefixtures("small_blocks")
def test_jsonl_any_value_type_and_malformed_lines(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(
        b'{"a": 12, "b": 12.0}\n'
        b"\n"
        b'{"a": "x"\n'
        b'{"b": true, "a": null}\n'
        b'{"a": [1], "b": 2}\n'
        b"[1, 2]\n"
        b'{"a": NaN}\n'
        b'{"a": "\xc3\xa9", "b": 1.5}\n'
        b"\xff\xfe\n"
        b'{"a": 9007199254740993, "b": "last"}'
    )
    rows, malformed = _read(path, "a", "b")
    assert rows == [
        (1, "12", "12"),
        (4, None, "true"),
        (7, None, None),
        (8, "é", "1.5"),
        (10, "9007199254740993", "last"),
    ]
    assert [number for number, _ in malformed] == [3, 5, 6, 9]
    assert malformed[0][1] == """Expecting ',' delimiter: line 2 column 1 (char 10): {"a": "x\""""
    assert malformed[1][1] == '\'a\' is a list and not a single value: {"a": [1], "b": 2}'


def _two_members(data: bytes) -> bytes:
    return gzip.compress(data[:3]) + gzip.compress(data[3:])


@pytest.mark.parametrize(
    ("ending", "compress"),
    [("gz", gzip.compress), ("gz", _two_members), ("bz2", bz2.compress), ("zst", pa.Codec("zstd").compress)],
)
@pytest.mark.parametrize(("kind", "text"), [("csv", b"a\nx\ny\n"), ("jsonl", b'{"a": "x"}\n{"a": "y"}\n')])
def test_compressed_text(
    tmp_path: Path, ending: str, compress: Callable[[bytes], bytes], kind: str, text: bytes
) -> None:
    path = tmp_path / f"log.{kind}.{ending}"
    path.write_bytes(bytes(compress(text)))
    assert _read(path, "a")[0] == [(1, "x"), (2, "y")]
    assert list(peek(_file(path)).columns) == ["a"]


def test_peek_reads_names_and_whether_there_are_rows(tmp_path: Path) -> None:
    empty = tmp_path / "empty.parquet"
    pq.write_table(pa.table({"a": pa.array([], pa.int32())}), empty)
    assert peek(_file(empty)) == Peeked({"a": pa.int32()}, False)
    for name, text, expected in (
        ("a.csv", "x,y\n1,2\n", (["x", "y"], True)),
        ("b.csv", "x,y\n", (["x", "y"], False)),
        ("c.csv", "x,y\n1\n", (["x", "y"], True)),
        ("d.csv", "", ([], False)),
        ("e.jsonl", '{"x": 1}\n{"y": 1}\n', (["x", "y"], True)),
        ("f.jsonl", "\n\n", ([], False)),
    ):
        (tmp_path / name).write_text(text)
        peeked = peek(_file(tmp_path / name))
        assert (list(peeked.columns), peeked.filled) == expected, name


def test_peek_refuses_what_is_not_its_format(tmp_path: Path) -> None:
    bad = tmp_path / "bad.parquet"
    bad.write_bytes(b"this is no parquet file")
    with pytest.raises(DataError, match=r"bad\.parquet: not a readable parquet file"):
        peek(_file(bad))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_peek_tells_names_that_several_columns_have(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"twice.{kind}"
    if kind == "csv":
        path.write_text("a,b,a,,\n1,2,3,,\n")
    else:
        pq.write_table(pa.Table.from_arrays([pa.array([1])] * 5, names=["a", "b", "a", "", ""]), path)
    assert peek(_file(path)).twice == {"a", ""}
    # Nobody reads them.
    assert _read(path, "b")[0] == [(1, "2" if kind == "csv" else "1")]


def test_an_empty_csv_has_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("")
    assert _read(path, "a") == ([], [])


def test_damaged_pages_are_a_data_error(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    pq.write_table(
        pa.table({"a": [f"value {i}" for i in range(10_000)]}), path, compression="snappy", use_dictionary=False
    )
    damaged = bytearray(path.read_bytes())
    damaged[2000:6000] = np.full(4000, 0xFF, np.uint8).tobytes()
    path.write_bytes(damaged)
    assert peek(_file(path)).filled, "the footer is sound"
    with pytest.raises(DataError, match=r"log\.parquet: damaged parquet file"):
        _read(path, "a")


def _headerless(path: Path) -> LogFile:
    [file] = list_files(Interactions(path=path, header=["a", "b"], separator="\t" if path.suffix == ".tsv" else ","))
    return file


def _rows(file: LogFile) -> list[tuple]:
    batches = [batch for piece in pieces(file) for batch in read_piece(piece, ["a", "b"])]
    assert not any(batch.malformed for batch in batches)
    rows: list[tuple] = []
    for batch in batches:
        texts = [values.text(batch.columns[name]).to_pylist() for name in ("a", "b")]
        rows.extend(zip(batch.rows.tolist(), *texts, strict=True))
    return rows


@pytest.mark.parametrize("name", ["log.csv", "log.tsv", "log.csv.gz"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_file_without_a_header_has_the_names_of_the_table(name: str, mark: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    separator = b"\t" if ".tsv" in name else b","
    content = mark + b"".join(separator.join(row) + b"\n" for row in ((b"1", b"x"), (b"2", b""), (b"", "é".encode())))
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    file = _headerless(path)
    assert list(peek(file).columns) == ["a", "b"]
    assert peek(file).filled
    assert _rows(file) == [(1, "1", "x"), (2, "2", None), (3, None, "é")]


@pytest.mark.usefixtures("small_blocks")
def test_every_row_of_a_file_without_a_header_is_accounted_for(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text('1,"two\nlines"\n\n2,x\n' + "".join(f"{n},y\n" for n in range(3, 50)))
    assert [number for number, *_ in _rows(_headerless(path))] == list(range(1, 50))
    path.write_text('1,x\n2,"never closed\n3,y\n')
    with pytest.raises(DataError, match=r"the quoted field that begins in line 2 is never closed"):
        _rows(_headerless(path))


def test_an_empty_file_without_a_header_has_no_row(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(b"")
    assert not peek(_headerless(path)).filled
    assert _rows(_headerless(path)) == []


def test_another_encoding_is_noticed_without_a_header_too(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes("1,naïve\n".encode("latin-1"))
    with pytest.raises(DataError, match="set encoding: windows-1252"):
        peek(_headerless(path))


def test_a_header_is_for_csv(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("{}")
    with pytest.raises(DataError, match=r"header names the columns of CSV files, and this one is jsonl"):
        _headerless(path)


@pytest.mark.parametrize(
    ("header", "message"),
    [(["a", "a"], "several columns are named 'a'"), (["a,b"], "'a,b' must be"), ([""], "''")],
)
def test_names_of_a_header_are_names(header: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Interactions(path=Path("log.csv"), header=header)


def test_what_the_parser_skips_while_a_batch_is_looked_at_is_told_with_the_next(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Arrow parses ahead in a thread of its own, here at the worst moment."""
    path = tmp_path / "log.csv"
    path.write_bytes(b"a,b\n1,2\n3\n4,5\n")
    skip: list[Callable[[SimpleNamespace], str]] = []

    def opened(stream, file, columns, on_wrong_width):
        while stream.read(1 << 20):
            pass
        skip.append(on_wrong_width)
        for first in (1, 4):
            yield pa.record_batch({"a": [str(first).encode()], "b": [str(first + 1).encode()]})

    monkeypatch.setattr(csv_records, "_open", opened)
    malformed, rows = [], []
    for batch in read_piece(next(iter(pieces(_file(path)))), ["a", "b"]):
        malformed += batch.malformed
        rows += batch.rows.tolist()
        if len(rows) == 1:
            skip[0](SimpleNamespace(number=3, actual_columns=1, expected_columns=2, text="3"))
    assert [number for number, _ in malformed] == [2]
    assert rows == [1, 3]
