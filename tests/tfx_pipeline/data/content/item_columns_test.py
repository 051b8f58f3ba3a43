"""Columns of the catalogue: what a file has, and the numbers that a model looks up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tfx_pipeline.config.schema import Features
from tfx_pipeline.config.tables import ItemTable
from tfx_pipeline.data.content.catalogue import check_catalogue, read_catalogue
from tfx_pipeline.data.content.item_columns import ColumnCoverage, ItemColumnTable
from tfx_pipeline.errors import DataError

ITEMS = [
    ("a", "Drama|Comedy|Drama", 1999, "x"),
    ("b", "", None, None),
    ("c", "Comedy| Action ", 2001, "y"),
    ("d", None, "long ago", "x"),
    ("e", "War|Drama|Noir", 2005, "z"),
]
GENRES = {"kind": "categorical", "multiple": True, "separator": "|"}


def _write(folder: Path, kind: str) -> Path:
    frame = pd.DataFrame(ITEMS, columns=["item_id", "genres", "year", "brand"])
    path = folder / f"items.{kind}"
    if kind == "csv":
        frame.to_csv(path, index=False)
        return path
    frame["genres"] = [
        None if text is None else [part.strip() for part in text.split("|") if part] for text in frame["genres"]
    ]
    if kind == "parquet":
        frame.assign(year=[None if year is None else str(year) for year in frame["year"]]).to_parquet(path)
    else:
        path.write_text("\n".join(json.dumps(row) for row in frame.replace({np.nan: None}).to_dict("records")))
    return path


def _read(path: Path, **columns: Any) -> dict[str, ItemColumnTable]:
    return read_catalogue(ItemTable(path=path), Features.model_validate({"item": columns}).item).columns


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_several_names_of_an_item(kind: str, tmp_path: Path) -> None:
    given = GENRES if kind == "csv" else {"kind": "categorical", "multiple": True}
    table = _read(_write(tmp_path, kind), genres=given)["genres"]
    # By frequency, then by name; a name that an item has twice counts once.
    assert table.names == ("Comedy", "Drama", "Action", "Noir", "War")
    assert table.rows == 7
    assert table.values.tolist() == [[2, 1, 0], [0, 0, 0], [1, 3, 0], [0, 0, 0], [5, 2, 4]]
    assert table.coverage == ColumnCoverage(items=5, missing=2)


def test_rare_names_share_the_last_row_and_more_names_than_are_kept_are_cut(tmp_path: Path) -> None:
    path = _write(tmp_path, "csv")
    table = _read(path, genres=GENRES | {"min_count": 2, "max_values": 2})["genres"]
    assert table.names == ("Comedy", "Drama")
    assert table.rows == 4
    assert table.values.tolist() == [[2, 1], [0, 0], [1, 3], [0, 0], [3, 2]]
    assert table.coverage == ColumnCoverage(items=5, missing=2, unknown=2, cut=1)
    assert _read(path, genres=GENRES | {"max_size": 1})["genres"].names == ("Comedy",)


def test_one_name_of_an_item(tmp_path: Path) -> None:
    table = _read(_write(tmp_path, "csv"), maker={"kind": "categorical", "column": "brand"})["maker"]
    assert table.names == ("x", "y", "z")
    assert table.values.tolist() == [[1], [0], [2], [1], [3]]


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_numbers_are_scaled_over_the_catalogue_and_text_that_is_none_is_missing(kind: str, tmp_path: Path) -> None:
    table = _read(_write(tmp_path, kind), year={"kind": "numeric"})["year"]
    known = np.array([1999, 2001, 2005])
    expected = np.zeros(5)
    expected[[0, 2, 4]] = (known - known.mean()) / known.std()
    np.testing.assert_allclose(table.values, expected, atol=1e-6)
    assert table.rows is None and table.values.dtype == np.float32
    assert (table.coverage.missing, table.coverage.no_number) == (2, 1)


def test_logarithms_keep_the_sign(tmp_path: Path) -> None:
    numbers = [0.0, -9.0, 99.0, None, 1e6]
    path = tmp_path / "items.parquet"
    pd.DataFrame({"item_id": list("abcde"), "price": numbers}).to_parquet(path)
    table = _read(path, price={"kind": "numeric", "scaling": "log"})["price"]
    logs = np.array([0, -np.log(10), np.log(100), np.log1p(1e6)])
    np.testing.assert_allclose(table.values[[0, 1, 2, 4]], (logs - logs.mean()) / logs.std(), atol=1e-6)
    assert table.values[3] == 0


def test_quantiles_hold_as_many_items_each_and_equal_numbers_one_bucket(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    path = tmp_path / "items.parquet"
    price, flat = rng.lognormal(size=1000), np.repeat([0.0, 7.0], [900, 100])
    pd.DataFrame({"item_id": np.arange(1000).astype(str), "price": price, "flat": flat}).to_parquet(path)
    tables = _read(
        path, price={"kind": "numeric", "scaling": "quantiles"}, flat={"kind": "numeric", "scaling": "quantiles"}
    )
    counts = np.bincount(tables["price"].values[:, 0])
    assert counts[0] == 0 and (counts[1:] == 100).all() and len(counts) == tables["price"].rows == 11
    order = np.argsort(price)
    assert (np.diff(tables["price"].values[order, 0]) >= 0).all()
    ids = tables["flat"].values[:, 0]
    assert len(set(ids[flat == 0])) == len(set(ids[flat == 7])) == 1
    assert ids[0] != ids[-1]


def test_a_column_without_any_value_is_all_missing(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("item_id,genres,price\na,,\nb,,\n")
    tables = _read(path, genres=GENRES, plain={"kind": "categorical", "column": "genres"}, price={"kind": "numeric"})
    assert tables["genres"].values.tolist() == tables["plain"].values.tolist() == [[0], [0]]
    assert tables["genres"].rows == 2
    assert tables["price"].values.tolist() == [0, 0]


def test_files_may_differ_in_the_types_of_a_column(tmp_path: Path) -> None:
    (tmp_path / "items").mkdir()
    for number, genres in enumerate([[["x", "y"], ["y"]], [None, []]]):
        column = pa.array(genres, pa.list_(pa.string()) if number == 0 else pa.large_list(pa.large_string()))
        pa.parquet.write_table(
            pa.table({"item_id": [f"{number}{n}" for n in range(2)], "genres": column}),
            tmp_path / f"items/{number}.parquet",
        )
    table = _read(tmp_path / "items", genres={"kind": "categorical", "multiple": True})["genres"]
    assert table.values.tolist() == [[2, 1], [1, 0], [0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"genres": {"kind": "categorical"}},
            r"'genres' has list<.*>, and features.item.genres is of one value; .*multiple: true",
        ),
        ({"genres": {"kind": "numeric"}}, r"'genres' has list<.*multiple: true"),
        (
            {"colour": {"kind": "categorical"}},
            r"no column 'colour'; columns there: 'item_id', 'genres', 'year', 'brand'",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_any_row_is_read(columns: dict, message: str, tmp_path: Path) -> None:
    path = _write(tmp_path, "parquet")
    with pytest.raises(DataError, match=rf"data\.items: .*{message}"):
        check_catalogue(ItemTable(path=path), Features.model_validate({"item": columns}).item)


def test_text_of_several_values_needs_a_separator(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"features\.item\.genres: 'genres' of .*items\.csv has text such as 'Drama\|Comedy"
    ):
        _read(_write(tmp_path, "csv"), genres={"kind": "categorical", "multiple": True})


def test_features_without_item_columns_are_written_as_before() -> None:
    assert "item" not in Features().model_dump(mode="json")
    features = Features.model_validate({"item": {"genres": GENRES}})
    assert "item" in features.model_dump(mode="json")
    assert "genres" not in features.of_requests()
    with pytest.raises(ValueError, match="columns in both 'context' and 'item': genres"):
        Features.model_validate({"item": {"genres": GENRES}, "context": {"genres": {"kind": "categorical"}}})
