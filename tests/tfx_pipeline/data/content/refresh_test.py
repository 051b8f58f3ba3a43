"""A content table made anew: nothing is fitted, and what has not changed stays bit for bit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.config.content import Content
from tfx_pipeline.config.schema import Features
from tfx_pipeline.config.tables import ItemTable
from tfx_pipeline.data.content.build import build_content
from tfx_pipeline.data.content.codes import assign_codes, fit_codes
from tfx_pipeline.data.content.projection import projected_matrix
from tfx_pipeline.data.content.refresh import RefreshedContent, refresh_content
from tfx_pipeline.data.content.table import ItemContentTable, read_content, write_content
from tfx_pipeline.errors import ConfigError, DataError

WIDTH, DIM, ITEMS = 12, 5, 40
COLUMNS = {
    "kind": {"kind": "categorical"},
    "tags": {"kind": "categorical", "multiple": True, "separator": " ", "max_values": 3},
    "price": {"kind": "numeric", "scaling": "log"},
    "year": {"kind": "numeric", "scaling": "quantiles", "buckets": 4},
    "weight": {"kind": "numeric"},
}


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


class Shop:
    """A catalogue and its embeddings on disk, in lists that a test changes before `refresh`."""

    def __init__(self, folder: Path):
        rng = np.random.default_rng(4)
        self.folder = folder
        self.vectors = {f"i{n}": rng.normal(size=WIDTH).astype(np.float32) for n in range(ITEMS)}
        self.rows = {
            item: {
                "kind": "abc"[n % 3],
                "tags": "x y" if n % 2 else "x",
                "price": str(float(n * n)),
                "year": str(1990 + n % 10),
                "weight": str(float(rng.normal())),
            }
            for n, item in enumerate(self.vectors)
        }
        self.encoder: str | None = "one"
        self.modality: dict = {"dim": DIM}
        self.codes: dict | None = {"of": "text", "size": 4, "levels": 2}
        self.columns = dict(COLUMNS)

    def sections(self) -> tuple[ItemTable, Content, dict]:
        """Of the files as they are now written."""
        items, text = self.folder / "items.csv", self.folder / "text.parquet"
        lines = (",".join([item, *row.values()]) for item, row in self.rows.items())
        items.write_text("\n".join(["item_id," + ",".join(COLUMNS), *lines]) + "\n")
        embedding = pa.array([vector.tolist() for vector in self.vectors.values()], pa.list_(pa.float32()))
        table = pa.table({"item_id": list(self.vectors), "embedding": embedding})
        told = {} if self.encoder is None else {"dmf_encoder": self.encoder}
        pq.write_table(table.replace_schema_metadata(told), text)
        values = {"modalities": {"text": {"path": text, **self.modality}}, "max_unknown_fraction": 0.5}
        columns = Features.model_validate({"item": self.columns}).item
        return ItemTable(path=items), Content(**values, codes=self.codes), columns

    def build(self) -> ItemContentTable:
        """The table of training, as it is read from disk."""
        table = build_content(*self.sections())
        folder = self.folder / f"table-{table.version}"
        write_content(table, folder)
        return read_content(folder)

    def refresh(self, before: ItemContentTable) -> RefreshedContent:
        return refresh_content(*self.sections(), before)


@pytest.fixture
def shop(tmp_path) -> Shop:
    return Shop(tmp_path)


def test_nothing_changed(shop):
    before = shop.build()
    found = shop.refresh(before)
    assert not found.anything
    assert found.table.version == before.version
    # Nor by another order of the catalogue and of the file, in which products add up otherwise.
    shop.rows, shop.vectors = (dict(reversed(each.items())) for each in (shop.rows, shop.vectors))
    assert not shop.refresh(before).anything


def test_new_changed_and_removed_items(shop, tmp_path):
    before = shop.build()
    rng = np.random.default_rng(1)
    del shop.rows["i5"]
    shop.rows = {"new": {"kind": "b", "tags": "y z x", "price": "3", "year": "1950", "weight": ""}} | shop.rows
    shop.vectors |= {"new": rng.normal(size=WIDTH).astype(np.float32), "i7": rng.normal(size=WIDTH).astype(np.float32)}
    shop.rows["i9"] = shop.rows["i9"] | {"kind": "never seen"}
    found = shop.refresh(before)
    table = found.table
    assert (found.new, found.changed, found.removed) == (["new"], ["i7", "i9"], ["i5"])
    assert table.item_ids == ["new", *(f"i{n}" for n in range(ITEMS) if n != 5), "i5"]
    assert (table.retired, table.catalogue_ids) == (1, table.item_ids[:-1])

    # By the same reduction, which NumPy does alike.
    old, new = before.modalities["text"], table.modalities["text"]
    assert np.array_equal(old.basis, new.basis) and (new.encoder, new.source_width) == ("one", WIDTH)
    for item in ("new", "i7"):
        expected = unit(unit(shop.vectors[item]) @ old.basis)
        np.testing.assert_allclose(new.vectors[table.item_ids.index(item)], expected, atol=1e-3)
    # What has not changed, and what the catalogue has lost, stays bit for bit.
    same = [item for item in before.item_ids if item not in ("i7", "i9")]
    for name in ("vectors", "present"):
        mine, other = (getattr(matrix, name) for matrix in (new, old))
        rows = [(table.item_ids.index(item), before.item_ids.index(item)) for item in same]
        assert all(np.array_equal(mine[row], other[place]) for row, place in rows)
    for name, column in before.columns.items():
        now = table.columns[name].values
        for item in same:
            values = np.ravel(now[table.item_ids.index(item)]).tolist()
            was = np.ravel(column.values[before.item_ids.index(item)]).tolist()
            assert values == was + [0] * (len(values) - len(was)), (name, item)
    write_content(table, tmp_path / "refreshed")
    assert read_content(tmp_path / "refreshed").retired == 1
    assert not shop.refresh(read_content(tmp_path / "refreshed")).anything


def test_columns_by_the_same_statistics(shop):
    before = shop.build()
    prices = np.log1p([float(row["price"]) for row in shop.rows.values()])
    years = [float(row["year"]) for row in shop.rows.values()]
    for n in range(30):
        # They would move every mean, border and vocabulary.
        shop.rows[f"new{n}"] = {"kind": "d", "tags": "z x y", "price": "1e6", "year": "2020", "weight": "50"}
    table = shop.refresh(before).table
    row = table.item_ids.index("new0")
    assert [table.columns[name].names for name in COLUMNS] == [before.columns[name].names for name in COLUMNS]
    assert table.columns["price"].values[row] == pytest.approx((np.log1p(1e6) - prices.mean()) / prices.std())
    borders = np.unique(np.quantile(years, [0.25, 0.5, 0.75]))
    assert table.columns["year"].values[row].tolist() == [len(borders) + 1]
    assert table.columns["kind"].values[row].tolist() == [before.columns["kind"].rows - 1]
    # A new item may have more names than any had.
    assert before.columns["tags"].width == 2
    names = before.columns["tags"].names
    expected = [before.columns["tags"].rows - 1, names.index("x") + 1, names.index("y") + 1]
    assert table.columns["tags"].values[row].tolist() == expected


def test_codes_by_the_same_centres(shop):
    before = shop.build()
    centres = before.codes.centres
    again = assign_codes(before.modalities["text"].vectors, before.modalities["text"].present, centres)
    assert np.array_equal(again, before.codes.values)
    shop.rows["new"] = shop.rows["i1"]
    shop.vectors["new"] = shop.vectors["i1"] * 1.01 + 1e-3
    shop.rows["bare"] = shop.rows["i1"]
    codes = shop.refresh(before).table.codes
    assert np.array_equal(codes.centres, centres)
    assert codes.values[-2].tolist() == codes.values[1].tolist() and codes.values[-1].tolist() == [0, 0]
    assert (codes.report.items, codes.report.coded) == (ITEMS + 2, ITEMS + 1)


def test_codes_are_the_nearest_centres_level_by_level():
    rng = np.random.default_rng(2)
    vectors, centres = unit(rng.normal(size=(30, 4))), rng.normal(size=(3, 5, 4))
    found = assign_codes(vectors.astype(np.float32), np.arange(30) > 3, centres)
    assert not found[:4].any()
    for vector, codes in zip(vectors[4:].astype(np.float32), found[4:], strict=True):
        left = vector
        for book, code in zip(centres, codes, strict=True):
            assert code == 1 + np.argmin(np.linalg.norm(book - left, axis=1))
            left = left - book[code - 1].astype(np.float32)


def test_an_item_that_comes_back_is_new_and_has_what_it_had(shop):
    first = shop.build()
    row = shop.rows.pop("i3")
    second = shop.refresh(first).table
    shop.rows["i3"] = row
    found = shop.refresh(second)
    assert (found.new, found.changed, found.removed) == (["i3"], [], [])
    assert found.table.retired == 0
    assert np.array_equal(found.table.modalities["text"].vectors[-1], first.modalities["text"].vectors[3])
    # And what stays away stays kept.
    del shop.rows["i3"]
    third = shop.refresh(second)
    assert not third.anything and third.table.retired == 1


def test_content_that_comes_and_goes(shop):
    del shop.vectors["i2"]
    before = shop.build()
    shop.vectors["i2"] = shop.vectors.pop("i4")
    found = shop.refresh(before)
    assert found.changed == ["i2", "i4"]
    matrix = found.table.modalities["text"]
    assert matrix.present[[2, 4]].tolist() == [True, False] and not matrix.vectors[4].any()


def test_tuned_vectors_by_the_same_projection(shop):
    shop.modality, shop.codes = {}, None
    kernel = np.linalg.qr(np.random.default_rng(8).normal(size=(WIDTH, 3)))[0].astype(np.float32)
    plain = shop.build()
    tuned = projected_matrix(plain.modalities["text"], kernel)
    before = dataclasses.replace(plain, modalities={"text_tuned": tuned})
    shop.rows["new"], shop.vectors["new"] = shop.rows["i1"], np.arange(WIDTH, dtype=np.float32)
    items, content, columns = shop.sections()
    refusal = "the model has content 'text_tuned', the configuration has text; name it as it was"
    with pytest.raises(ConfigError, match=refusal):
        refresh_content(items, content, columns, before)
    content = Content.model_validate({**content.model_dump(), "fine_tuning": {"dim": 7, "keep": []}})
    found = refresh_content(items, content, columns, before)
    assert (found.new, found.changed) == (["new"], [])
    matrix = found.table.modalities["text_tuned"]
    assert np.array_equal(matrix.basis, kernel)
    np.testing.assert_allclose(matrix.vectors[-1], unit(unit(np.arange(WIDTH)) @ kernel), atol=2e-3)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda shop: shop.vectors.update({i: v[:9] for i, v in shop.vectors.items()}), "are 9 wide, the model .* 12"),
        (lambda shop: setattr(shop, "encoder", "two"), "are of the encoder two, those that .* of one; encode by the"),
        (lambda shop: shop.modality.update(path="gone.parquet"), "gone.parquet"),
        (lambda shop: shop.rows.clear(), "no rows in .*items.csv"),
    ],
    ids=["width", "encoder", "file", "empty"],
)
def test_what_does_not_fit_the_model_is_refused(shop, spoil: Callable, message: str):
    before = shop.build()
    spoil(shop)
    with pytest.raises(DataError, match=message):
        shop.refresh(before)


def test_a_file_that_does_not_say_its_encoder_is_taken(shop):
    before = shop.build()
    shop.encoder = None
    found = shop.refresh(before)
    assert not found.anything and found.table.modalities["text"].encoder == "one"


def test_tables_of_earlier_versions_are_refused_where_something_is_missing(shop):
    before = shop.build()
    codes = dataclasses.replace(before.codes, centres=None)
    with pytest.raises(DataError, match=r"did not keep their centres.*dmf run"):
        shop.refresh(dataclasses.replace(before, codes=codes))
    price = dataclasses.replace(before.columns["price"], scale=None)
    with pytest.raises(DataError, match=r"features\.item\.price: .* did not keep mean and deviation.*dmf run"):
        shop.refresh(dataclasses.replace(before, columns=before.columns | {"price": price}))


def test_fitting_keeps_centres_of_every_level(shop):
    shop.build()
    rng = np.random.default_rng(0)
    vectors = unit(rng.normal(size=(50, 4))).astype(np.float32)
    table = fit_codes(vectors, np.ones(50, bool), shop.sections()[1].codes)
    assert table.centres.shape == (2, 4, 4) and table.centres.dtype == np.float64
