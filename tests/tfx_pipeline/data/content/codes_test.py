"""Semantic ids: residual k-means of a modality."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

from tests.tfx_pipeline.data.content.table_test import make_table
from tfx_pipeline.config.content import Codes, Content
from tfx_pipeline.data.content.codes import fit_codes
from tfx_pipeline.data.content.table import ItemContentTable, read_content, write_content
from tfx_pipeline.errors import DataError


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def two_levels(items: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors near four far-apart centres, each with three of its own beside it, and which of both an item is of."""
    rng = np.random.default_rng(0)
    far, near = np.arange(items) % 4, np.arange(items) // 4 % 3
    vectors = np.zeros((items, 7))
    vectors[np.arange(items), far] = 1
    vectors[np.arange(items), 4 + near] = 0.2
    return unit(vectors + 1e-3 * rng.normal(size=vectors.shape)), far, near


def same_partition(one: np.ndarray, other: np.ndarray) -> bool:
    return len(np.unique(np.stack([one, other], 1), axis=0)) == len(np.unique(one)) == len(np.unique(other))


def test_each_level_clusters_what_the_levels_before_it_leave_over():
    vectors, far, near = two_levels()
    table = fit_codes(vectors, np.ones(len(vectors), bool), Codes(levels=2, size=4, of="text"))
    first, second = table.values.T
    assert table.values.dtype == np.int32 and same_partition(first, far)
    # Near ones are the same for each of the far ones, so three codes tell them apart.
    assert all(len(np.unique(second[near == each])) <= 2 for each in range(3))

    left = vectors.astype(np.float64)
    for level, found in zip(table.values.T, table.report.levels, strict=True):
        centres = np.stack([left[level == code].mean(axis=0) for code in np.arange(1, 5)])
        distances = ((left[:, None] - centres) ** 2).sum(axis=2)
        np.testing.assert_array_equal(distances.argmin(axis=1) + 1, level)
        left = left - centres[level - 1]
        assert found.error == pytest.approx((left**2).sum(axis=1).mean(), abs=1e-6)
        assert (found.used, found.largest) == (4, np.bincount(level).max())
    assert table.report.levels[1].error < table.report.levels[0].error < 1


def test_the_same_content_gives_the_same_codes():
    vectors = unit(np.random.default_rng(1).normal(size=(300, 8)))
    codes = Codes(levels=3, size=16, of="text")
    one, other = (fit_codes(vectors, np.ones(300, bool), codes) for _ in range(2))
    assert one.checksum == other.checksum and one.report == other.report
    assert one.values.min() == 1 and one.values.max() == 16


def test_items_without_content_have_code_0_and_move_no_centre():
    vectors = unit(np.random.default_rng(2).normal(size=(40, 5)))
    present = np.arange(40) % 4 > 0
    with_gaps = np.where(present[:, None], vectors, 0)
    table = fit_codes(with_gaps, present, Codes(levels=2, size=5, of="text"))
    assert (table.values[~present] == 0).all() and (table.values[present] > 0).all()
    alone = fit_codes(vectors[present], np.ones(30, bool), Codes(levels=2, size=5, of="text"))
    np.testing.assert_array_equal(table.values[present], alone.values)
    assert (table.report.items, table.report.coded) == (40, 30)


def test_more_codes_than_items_with_content_are_refused_with_both_numbers():
    present = np.arange(10) < 7
    with pytest.raises(DataError, match=r"content\.codes\.size: 8 codes .* of 7 items .* 'text'; give at most 7"):
        fit_codes(np.eye(10, dtype=np.float32), present, Codes(levels=1, size=8, of="text"))


def test_fewer_different_vectors_than_codes_are_counted_and_not_warned_of():
    vectors = np.repeat(np.eye(3, dtype=np.float16), 4, axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = fit_codes(vectors, np.ones(12, bool), Codes(levels=3, size=8, of="text"))
    report = table.report
    assert (report.distinct, report.colliding, report.coded) == (3, 12, 12)
    assert [level.used for level in report.levels] == [3, 1, 1]
    assert [level.largest for level in report.levels] == [4, 12, 12]
    assert report.levels[-1].error == pytest.approx(0, abs=1e-6)


def test_large_catalogues_are_fitted_on_some_of_their_items(monkeypatch):
    monkeypatch.setattr("tfx_pipeline.data.content.codes._ITEMS_PER_CENTRE", 5)
    monkeypatch.setattr("tfx_pipeline.data.content.codes._BLOCK", 7)
    vectors, far, _ = two_levels()
    table = fit_codes(vectors, np.ones(len(vectors), bool), Codes(levels=1, size=4, of="text"))
    assert same_partition(table.values[:, 0], far)


def with_codes(ids=("a", "b", "c", "d", "e", "f")) -> ItemContentTable:
    table = make_table(list(ids))
    matrix = table.modalities["text"]
    codes = fit_codes(matrix.vectors, matrix.present, Codes(levels=2, size=2, of="text"))
    return ItemContentTable(table.item_ids, table.modalities, codes=codes)


def test_codes_are_written_read_and_part_of_the_version(tmp_path):
    table = with_codes()
    write_content(table, tmp_path / "table")
    read = read_content(tmp_path / "table")
    np.testing.assert_array_equal(read.codes.values, table.codes.values)
    assert (read.codes.size, read.codes.of, read.codes.report) == (2, "text", table.codes.report)
    assert read.version == table.version != make_table(table.item_ids).version
    facts = json.loads((tmp_path / "table/content.json").read_text())["codes"]
    assert (facts["of"], facts["size"], facts["report"]["coded"], len(facts["report"]["levels"])) == ("text", 2, 4, 2)

    np.save(tmp_path / "table/codes.npy", 3 - table.codes.values)
    with pytest.raises(DataError, match=r"codes\.npy is not what its checksum says"):
        read_content(tmp_path / "table")


def test_a_table_without_codes_is_written_as_before(tmp_path):
    write_content(make_table(["a", "b"]), tmp_path / "table")
    assert "codes" not in json.loads((tmp_path / "table/content.json").read_text())
    assert not (tmp_path / "table/codes.npy").exists()
    assert read_content(tmp_path / "table").codes is None
    assert "codes" not in Content().model_dump(mode="json")


def test_codes_of_other_items_are_refused():
    with pytest.raises(ValueError, match="codes must be of 2 items, got 6"):
        ItemContentTable(["a", "b"], make_table(["a", "b"]).modalities, codes=with_codes().codes)


def test_the_catalogue_s_table_has_them(build, embeddings):
    table = build(embeddings, codes={"levels": 2, "size": 3, "of": "text"})
    assert table.codes.values.shape == (5, 2) and table.codes.report.coded == 5
    assert build(embeddings).codes is None
