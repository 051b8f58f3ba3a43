from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tfx_pipeline.config.content import Content, Modality
from tfx_pipeline.config.tables import ItemTable
from tfx_pipeline.data.content.build import build_content
from tfx_pipeline.data.content.reduction import principal_directions

DATA = Path(__file__).resolve().parents[4] / "../shared/data"


def test_basis_is_orthonormal_and_most_important_first():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((200, 8)) * np.array([1, 5, 1, 1, 3, 1, 1, 1])
    basis, kept = principal_directions(rows.T @ rows / len(rows), 2)
    np.testing.assert_allclose(basis.T @ basis, np.eye(2), atol=1e-6)
    assert np.abs(basis).argmax(axis=0).tolist() == [1, 4]
    assert (basis.max(axis=0) > 0.9).all()
    # A second way to the same number: the share of squared length that the projections keep.
    assert kept == pytest.approx(((rows @ basis) ** 2).sum() / (rows**2).sum(), rel=1e-5)


@pytest.mark.parametrize(
    ("dataset", "source", "dim", "error", "correlation"),
    [
        ("ml1m", "text", 64, 0.10, 0.96),
        pytest.param("ml1m", "poster", 64, 0.16, 0.92, marks=pytest.mark.slow),
        ("microlens50k", "text", 64, 0.10, 0.94),
    ],
)
def test_cosines_survive_on_real_embeddings(dataset, source, dim, error, correlation):
    """The figures of `principal_directions`' docstring."""
    folder = DATA / dataset
    if not folder.is_dir():
        pytest.skip("the data sets are not part of the repository")
    items, file = ItemTable(path=folder / "items.parquet"), folder / f"{source}_embeddings.parquet"
    full, reduced = (
        build_content(items, Content(modalities={"m": Modality(path=file, dim=width, dtype="float32")})).modalities["m"]
        for width in (None, dim)
    )
    present = np.flatnonzero(full.present)
    left, right = np.random.default_rng(0).choice(present, (2, 50_000))
    distinct = left != right
    left, right = left[distinct], right[distinct]
    before, after = (
        np.einsum("nd,nd->n", vectors[left], vectors[right]) for vectors in (full.vectors, reduced.vectors)
    )
    assert np.abs(before - after).mean() < error
    assert np.corrcoef(before, after)[0, 1] > correlation
