from __future__ import annotations

import numpy as np
import pytest

from tfx_pipeline.errors import DataError


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_rows_have_unit_length_in_catalogue_order(build, embeddings, dtype):
    table = build(embeddings, ids=["e", "d", "c", "b", "a"], dtype=dtype)
    matrix = table.modalities["text"]
    assert table.item_ids == ["a", "b", "c", "d", "e"]
    assert matrix.vectors.dtype == dtype
    np.testing.assert_allclose(matrix.vectors, unit(embeddings)[::-1], atol=1e-3 if dtype == "float16" else 1e-6)
    assert matrix.present.all()


def test_int8_is_for_the_model_and_the_table_stays_float16(build, embeddings):
    matrix = build(embeddings, dtype="int8").modalities["text"]
    assert (matrix.storage_dtype, matrix.vectors.dtype) == ("int8", np.float16)
    np.testing.assert_allclose(matrix.vectors, unit(embeddings), atol=1e-3)


def test_item_without_embedding_is_missing(build, embeddings):
    matrix = build(embeddings[:3], ids=["a", "c", "e"]).modalities["text"]
    assert matrix.present.tolist() == [True, False, True, False, True]
    assert not matrix.vectors[[1, 3]].any()
    assert (matrix.coverage.items, matrix.coverage.present, matrix.coverage.missing) == (5, 3, 2)
    assert matrix.basis is None


def test_zero_and_null_embeddings_are_missing_not_refused(build, embeddings):
    rows = embeddings.tolist()
    rows[1], rows[3] = [0.0] * 6, None
    table = build(rows)
    matrix = table.modalities["text"]
    assert matrix.present.tolist() == [True, False, True, False, True]
    assert matrix.coverage.zero_vectors == 2
    assert matrix.coverage.zero_vector_items == (table.item_ids[1], table.item_ids[3])
    np.testing.assert_allclose(matrix.vectors[[0, 2, 4]], unit(embeddings)[[0, 2, 4]], atol=1e-3)


@pytest.mark.parametrize("scale", [1e-35, 1e30])
def test_extreme_lengths_do_not_overflow(build, embeddings, scale):
    matrix = build(embeddings * np.float32(scale), dtype="float32").modalities["text"]
    np.testing.assert_allclose(matrix.vectors, unit(embeddings), rtol=1e-4, atol=1e-5)


def test_numeric_ids_match_text_ids(build, embeddings):
    table = build(embeddings, ids=[1.0, 2.0, 3.0, 4.0, 5.0], catalogue=["5", "4", "3", "2", "1"])
    assert table.item_ids == ["5", "4", "3", "2", "1"]
    np.testing.assert_allclose(table.modalities["text"].vectors, unit(embeddings)[::-1], atol=1e-3)


def test_reduction_of_vectors_in_a_subspace_is_exact(build):
    rng = np.random.default_rng(1)
    flat = (rng.standard_normal((5, 3)) @ rng.standard_normal((3, 6))).astype(np.float32)
    matrix = build(flat, dim=3, dtype="float32").modalities["text"]
    assert matrix.vectors.shape == (5, 3)
    assert matrix.source_width == 6
    assert matrix.explained_variance == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(matrix.vectors @ matrix.vectors.T, unit(flat) @ unit(flat).T, atol=1e-5)
    np.testing.assert_allclose(unit(flat) @ matrix.basis, matrix.vectors, atol=1e-5)


def test_reduction_is_fitted_on_the_catalogue_alone(build):
    # Items of the catalogue lie in the first two directions; the many unknown ones in the others.
    vectors = np.zeros((5, 6), np.float32)
    vectors[0, 0], vectors[1, 1] = 1, 1
    vectors[2:, 2:] = 1
    matrix = build(vectors, catalogue=["a", "b"], unknown=1, dim=2, dtype="float32").modalities["text"]
    assert matrix.explained_variance == pytest.approx(1)
    assert matrix.coverage.unknown_ids == 3
    assert matrix.present.all()


def test_reduction_has_one_sign(build, embeddings):
    first = build(embeddings, dim=2, dtype="float32").modalities["text"].vectors
    turned = build(-embeddings, dim=2, dtype="float32").modalities["text"].vectors
    np.testing.assert_allclose(first, -turned, atol=1e-6)


def test_item_outside_the_kept_directions_is_missing(build):
    vectors = np.eye(6, dtype=np.float32)[[0, 0, 1, 1, 5]]
    matrix = build(vectors, dim=2).modalities["text"]
    assert matrix.present.tolist() == [True, True, True, True, False]
    assert matrix.coverage.zero_vectors == 1


def refusal(build, *args, **kwargs) -> str:
    with pytest.raises(DataError) as caught:
        build(*args, **kwargs)
    return str(caught.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite_names_the_item(build, embeddings, bad):
    embeddings[3, 2] = bad
    assert "item 'd'" in refusal(build, embeddings)


def test_null_value_names_the_item(build, embeddings):
    rows = embeddings.tolist()
    rows[0], rows[2][4] = None, None
    assert "item 'c'" in refusal(build, rows)


def test_row_of_another_width_names_item_and_widths(build, embeddings):
    rows = embeddings.tolist()
    rows[2] = rows[2][:4]
    message = refusal(build, rows)
    assert "item 'c'" in message
    assert "4 wide" in message
    assert "6 wide" in message


def test_width_other_than_configured(build, embeddings):
    message = refusal(build, embeddings, width=8)
    assert "6 wide" in message
    assert "expects 8" in message
    assert "'a'" in message


def test_item_twice_in_embeddings(build, embeddings):
    assert "item 'b' is given 2 times" in refusal(build, embeddings, ids=["a", "b", "c", "d", "b"])


def test_item_twice_in_catalogue(build, embeddings):
    message = refusal(build, embeddings, catalogue=["a", "b", "c", "d", "e", "c"])
    assert "data.items" in message
    assert "item 'c' is given 2 times" in message


def test_unknown_ids_beyond_the_share(build, embeddings):
    message = refusal(build, embeddings, ids=["a", "b", "c", "x", "y"], unknown=0.3)
    assert "2 of 5" in message
    assert "'x'" in message
    assert build(embeddings, ids=["a", "b", "c", "x", "y"], unknown=0.4).modalities["text"].coverage.unknown_ids == 2


def test_id_with_tab(build, embeddings):
    assert r"'c\tc'" in refusal(build, embeddings, catalogue=["a", "b", "c\tc", "d", "e"])


def test_embedding_without_id(build, embeddings):
    assert "row 2" in refusal(build, embeddings, ids=["a", None, "c", "d", "e"])


@pytest.mark.parametrize(("dim", "rows", "most"), [(7, 5, "at most 6"), (4, 3, "at most 3")])
def test_dim_beyond_width_or_items(build, embeddings, dim, rows, most):
    assert most in refusal(build, embeddings[:rows], ids=list("abcde")[:rows], dim=dim)


def test_no_embedding_at_all(build):
    assert "holds no embedding" in refusal(build, [None] * 5)
