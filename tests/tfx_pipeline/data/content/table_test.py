from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfx_pipeline.data.content.table import ContentMatrix, Coverage, ItemContentTable, read_content, write_content
from tfx_pipeline.errors import DataError


def make_table(item_ids: list[str], titles: list[str] | None = None) -> ItemContentTable:
    rows = len(item_ids)
    vectors = np.random.default_rng(0).standard_normal((rows, 4)).astype(np.float16)
    present = np.arange(rows) % 3 > 0
    coverage = Coverage(rows, int(present.sum()), int((~present).sum()), 0, 0)
    basis = np.linalg.qr(np.random.default_rng(1).standard_normal((9, 4)))[0].astype(np.float32)
    reduced = ContentMatrix(vectors, present, "int8", "e.npz", 9, basis, 0.5, coverage)
    whole = ContentMatrix(vectors[:, :3], present, "float16", "f.npz", 3, None, None, coverage)
    return ItemContentTable(item_ids, {"text": reduced, "image": whole}, titles)


line = st.text(st.characters(blacklist_characters="\t\r\n", codec="utf-8"), min_size=1)


@settings(max_examples=20, deadline=None)
@given(ids=st.lists(line, min_size=1, max_size=5, unique=True), titles=st.booleans())
def test_round_trip(tmp_path_factory, ids, titles):
    directory = tmp_path_factory.mktemp("content") / "table"
    table = make_table(ids, ids[::-1] if titles else None)
    write_content(table, directory)
    read = read_content(directory)
    assert (read.item_ids, read.titles, read.version) == (table.item_ids, table.titles, table.version)
    matrix, original = read.modalities["text"], table.modalities["text"]
    np.testing.assert_array_equal(matrix.vectors, original.vectors)
    np.testing.assert_array_equal(matrix.present, original.present)
    np.testing.assert_array_equal(matrix.basis, original.basis)
    assert (matrix.vectors.dtype, matrix.storage_dtype) == (np.float16, "int8")
    assert read.modalities["image"].basis is None
    assert matrix.coverage == original.coverage
    assert (matrix.source, matrix.source_width, matrix.explained_variance) == ("e.npz", 9, 0.5)


def test_ids_are_lines_and_matrices_are_numpy(tmp_path):
    write_content(make_table(["b", "a", "ü"]), tmp_path / "table")
    assert (tmp_path / "table/item_ids.txt").read_bytes() == "b\na\nü\n".encode()
    assert np.load(tmp_path / "table/text.npy").shape == (3, 4)
    assert np.load(tmp_path / "table/text.present.npy").dtype == bool
    facts = json.loads((tmp_path / "table/content.json").read_text())["modalities"]["text"]
    assert (facts["width"], facts["source_width"], facts["dtype"], facts["source"]) == (4, 9, "int8", "e.npz")
    assert np.load(tmp_path / "table/text.basis.npy").shape == (9, 4)
    assert not (tmp_path / "table/image.basis.npy").exists()


def test_version_follows_ids_and_vectors():
    assert make_table(["a", "b"]).version == make_table(["a", "b"], ["x", "y"]).version
    assert make_table(["a", "b"]).version != make_table(["b", "a"]).version
    for part in ("vectors", "basis"):
        changed = make_table(["a", "b"])
        getattr(changed.modalities["text"], part)[0, 0] += 1
        assert changed.version != make_table(["a", "b"]).version


def test_an_empty_directory_is_filled_and_a_full_one_refused(tmp_path):
    directory = tmp_path / "table"
    directory.mkdir()
    write_content(make_table(["a"]), directory)
    with pytest.raises(DataError, match="not empty"):
        write_content(make_table(["b"]), directory)
    assert read_content(directory).item_ids == ["a"]


def test_failure_leaves_nothing(tmp_path):
    # A lone surrogate cannot be written as UTF-8: the ids fail after the directory was begun.
    with pytest.raises(UnicodeEncodeError):
        write_content(make_table(["a", "\ud800"], ["x", "y"]), tmp_path / "table")
    assert list(tmp_path.iterdir()) == []


def spoil_matrix(directory):
    vectors = np.load(directory / "text.npy")
    vectors[1, 1] += 1
    np.save(directory / "text.npy", vectors)


def spoil_mask(directory):
    np.save(directory / "text.present.npy", ~np.load(directory / "text.present.npy"))


def spoil_basis(directory):
    np.save(directory / "text.basis.npy", -np.load(directory / "text.basis.npy"))


def turn_basis(directory):
    np.save(directory / "text.basis.npy", np.load(directory / "text.basis.npy").T)


def drop_basis(directory):
    (directory / "text.basis.npy").unlink()


def spoil_ids(directory):
    (directory / "item_ids.txt").write_text("a\nb\nd\n")


def spoil_rows(directory):
    np.save(directory / "text.npy", np.load(directory / "text.npy")[:2])


def spoil_manifest(directory):
    (directory / "content.json").write_text("{")


def drop_matrix(directory):
    (directory / "text.npy").unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_matrix, "damaged: 'text'"),
        (spoil_mask, "damaged: 'text'"),
        (spoil_basis, "damaged: 'text'"),
        (turn_basis, r"must have a basis \[9, 4\], got \[4, 9\]"),
        (drop_basis, r"no complete content table: text\.basis\.npy is missing"),
        (spoil_ids, r"damaged: item_ids\.txt"),
        (spoil_rows, r"damaged \(modality 'text' must have vectors \[3, width\]"),
        (spoil_manifest, "damaged"),
        (drop_matrix, r"no complete content table: text\.npy is missing"),
    ],
)
def test_damage_is_refused(tmp_path, spoil, message):
    directory = tmp_path / "table"
    write_content(make_table(["a", "b", "c"]), directory)
    spoil(directory)
    with pytest.raises(DataError, match=message):
        read_content(directory)


def test_no_table(tmp_path):
    with pytest.raises(DataError, match=r"content\.json is missing"):
        read_content(tmp_path)


def test_table_of_another_format(tmp_path):
    write_content(make_table(["a"]), tmp_path / "table")
    manifest = json.loads((tmp_path / "table/content.json").read_text())
    (tmp_path / "table/content.json").write_text(json.dumps(manifest | {"format_version": 1}))
    with pytest.raises(DataError, match="has format 1, this program reads 2"):
        read_content(tmp_path / "table")
