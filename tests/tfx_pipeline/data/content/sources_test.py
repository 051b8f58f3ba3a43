"""The formats that catalogue and embeddings come in, and what is said when they do not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.config.content import Modality
from tfx_pipeline.config.tables import ItemTable
from tfx_pipeline.data.content.catalogue import check_catalogue, read_catalogue
from tfx_pipeline.data.content.embeddings import open_embeddings
from tfx_pipeline.errors import DataError

IDS, TITLES = ["1", "2", "10"], ["one", "", "ten, or so"]


def write_catalogue(directory: Path, file_format: str) -> Path:
    file = directory / f"items.{file_format}"
    match file_format:
        case "parquet":
            pq.write_table(pa.table({"item_id": [1, 2, 10], "title": ["one", None, "ten, or\nso"]}), file)
        case "csv":
            file.write_text('item_id,title,price\n1,one,3\n2,,4\n10,"ten, or\nso",5\n')
        case "jsonl":
            rows = [(1, "one"), ("2", None), (10.0, "ten, or\nso")]
            file.write_text("\n".join(json.dumps({"item_id": item, "title": title}) for item, title in rows))
    return file


@pytest.mark.parametrize("file_format", ["parquet", "csv", "jsonl"])
def test_catalogue_formats(tmp_path, file_format):
    table = ItemTable(path=write_catalogue(tmp_path, file_format), title_column="title")
    check_catalogue(table)
    catalogue = read_catalogue(table)
    assert catalogue.item_ids.to_pylist() == IDS
    assert catalogue.titles == ["one", "", "ten, or so"]


def test_catalogue_directory_in_file_order(tmp_path):
    for name, item in (("b", "x"), ("a", "y"), ("_SUCCESS", "z")):
        (tmp_path / f"{name}.csv").write_text(f"item_id\n{item}\n")
    assert read_catalogue(ItemTable(path=tmp_path)).item_ids.to_pylist() == ["y", "x"]


def test_csv_ids_stay_text(tmp_path):
    (tmp_path / "items.csv").write_text("item_id\n007\n7\n")
    assert read_catalogue(ItemTable(path=tmp_path / "items.csv")).item_ids.to_pylist() == ["007", "7"]


@pytest.mark.parametrize("check", [check_catalogue, read_catalogue])
def test_missing_column_says_what_is_there(tmp_path, check):
    file = write_catalogue(tmp_path, "csv")
    with pytest.raises(DataError, match=r"data\.items.*no column 'sku'.*'item_id', 'title', 'price'"):
        check(ItemTable(path=file, id_column="sku"))


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"data\.items.*nothing\.csv"):
        check_catalogue(ItemTable(path=tmp_path / "nothing.csv"))


def test_malformed_row_is_named(tmp_path):
    (tmp_path / "items.csv").write_text("item_id,title\na,first\nb,second,third\n")
    with pytest.raises(DataError, match=r"row 2 .*3 fields instead of 2"):
        read_catalogue(ItemTable(path=tmp_path / "items.csv"))


def test_empty_catalogue(tmp_path):
    (tmp_path / "items.csv").write_text("item_id\n")
    with pytest.raises(DataError, match="no rows"):
        read_catalogue(ItemTable(path=tmp_path / "items.csv"))


def blocks(file: Path, **modality) -> tuple[list[str], np.ndarray]:
    (source,) = open_embeddings("text", Modality(path=file, **modality))
    ids = source.ids()
    return ids.to_pylist(), np.concatenate(list(source.blocks(ids)))


LIST_TYPES = {
    "list": pa.list_(pa.float64()),
    "large_list": pa.large_list(pa.float32()),
    "fixed": pa.list_(pa.float32(), 3),
    "integers": pa.list_(pa.int16()),
}


@pytest.mark.parametrize("kind", LIST_TYPES)
def test_parquet_list_types(tmp_path, kind):
    vectors = np.arange(12).reshape(4, 3).tolist()
    # Arrow 18 cannot read back a fixed-size list that is null.
    rows = vectors if kind == "fixed" else [*vectors[:3], None]
    table = pa.table({"item_id": list("abcd"), "embedding": pa.array(rows, LIST_TYPES[kind])})
    pq.write_table(table, tmp_path / "e.parquet")
    ids, found = blocks(tmp_path / "e.parquet")
    assert ids == list("abcd")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [row or [0, 0, 0] for row in rows])


def test_parquet_half_precision(tmp_path):
    halves = pa.array([np.array([1, 2], np.float16)], pa.list_(pa.float16()))
    pq.write_table(pa.table({"item_id": ["a"], "embedding": halves}), tmp_path / "e.parquet")
    assert blocks(tmp_path / "e.parquet")[1].tolist() == [[1, 2]]


def test_parquet_of_many_blocks_and_row_groups(tmp_path):
    vectors = np.random.default_rng(0).standard_normal((40_000, 2)).astype(np.float32)
    table = pa.table({"item_id": np.arange(40_000), "embedding": list(vectors)})
    pq.write_table(table, tmp_path / "e.parquet", row_group_size=30_000)
    ids, found = blocks(tmp_path / "e.parquet")
    assert ids[-1] == "39999"
    np.testing.assert_array_equal(found, vectors)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("ids", [np.arange(20_000), np.arange(20_000).astype("S"), np.arange(20_000).astype("U")])
def test_npz_streams_in_blocks(tmp_path, order, ids):
    vectors = np.asarray(np.random.default_rng(0).standard_normal((20_000, 3)), np.float64, order=order)
    np.savez_compressed(tmp_path / "e.npz", sku=ids, vectors=vectors)
    found_ids, found = blocks(tmp_path / "e.npz", id_column="sku", embedding_column="vectors")
    assert found_ids[12_345] == "12345"
    np.testing.assert_allclose(found, vectors, rtol=1e-6)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"id": ["a"], "embedding": [[1.0]]}, "no array 'item_id'; it has: id, embedding"),
        ({"item_id": ["a"], "embedding": [1.0]}, r"must be numbers \[rows, width\]"),
        ({"item_id": ["a"], "embedding": [["x"]]}, r"must be numbers \[rows, width\]"),
        ({"item_id": ["a", "b"], "embedding": [[1.0]]}, r"must be \[1\]"),
        ({"item_id": np.array(["a"], object), "embedding": [[1.0]]}, "must be text or numbers"),
    ],
)
def test_npz_refusals(tmp_path, arrays, message):
    np.savez(tmp_path / "e.npz", **{name: np.asarray(values) for name, values in arrays.items()})
    with pytest.raises(DataError, match=message):
        open_embeddings("text", Modality(path=tmp_path / "e.npz"))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"item_id": ["a"], "vector": [[1.0]]}, "no column 'embedding'; it has: item_id, vector"),
        ({"item_id": ["a"], "embedding": [1.0]}, "must hold lists of numbers, it holds double"),
        ({"item_id": ["a"], "embedding": [["x"]]}, "must hold lists of numbers"),
    ],
)
def test_parquet_refusals(tmp_path, columns, message):
    pq.write_table(pa.table(columns), tmp_path / "e.parquet")
    with pytest.raises(DataError, match=message):
        open_embeddings("text", Modality(path=tmp_path / "e.parquet"))


@pytest.mark.parametrize("name", ["e.parquet", "e.npz"])
def test_unreadable_file(tmp_path, name):
    (tmp_path / name).write_bytes(b"not what its ending says")
    with pytest.raises(DataError, match=f"cannot read .*{name}"):
        open_embeddings("text", Modality(path=tmp_path / name))


def test_unknown_format_and_absent_file(tmp_path):
    (tmp_path / "e.txt").write_text("1 2 3")
    with pytest.raises(DataError, match=r"format of .* is unknown"):
        open_embeddings("text", Modality(path=tmp_path / "e.txt"))
    with pytest.raises(DataError, match=r"absent\.parquet: no such file; .* holds: e\.txt"):
        open_embeddings("text", Modality(path=tmp_path / "absent.parquet"))


def test_files_of_a_glob_must_share_a_width(tmp_path):
    for name, width in (("e1.npz", 2), ("e2.npz", 3)):
        np.savez(tmp_path / name, item_id=np.array([name]), embedding=np.ones((1, width)))
    assert len(open_embeddings("text", Modality(path=tmp_path / "*1.npz"))) == 1
    for path in (tmp_path, tmp_path / "*.npz"):
        with pytest.raises(DataError, match=r"one width, found 2 in e1\.npz, 3 in e2\.npz"):
            open_embeddings("text", Modality(path=path))
