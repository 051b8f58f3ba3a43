"""Content vectors at the encoder's width through a projection that was learned of them."""

from __future__ import annotations

import dataclasses

import numpy as np

from serving.contract import SHORTEST_PROJECTION
from tfx_pipeline.data.content.table import ContentMatrix


def projected_matrix(source: ContentMatrix, basis: np.ndarray) -> ContentMatrix:
    """The matrix of a projection's vectors, at unit length.

    Args:
        source: at the encoder's width.
        basis: float32 [source width, width].
    """
    projected = source.vectors.astype(np.float32) @ basis
    length = np.sqrt(np.einsum("nd,nd->n", projected, projected))
    present = source.present & (length > SHORTEST_PROJECTION)
    vectors = np.zeros(projected.shape, source.vectors.dtype)
    vectors[present] = projected[present] / length[present, None]
    lost = int(source.present.sum() - present.sum())
    coverage = dataclasses.replace(
        source.coverage,
        present=source.coverage.present - lost,
        missing=source.coverage.missing + lost,
        zero_vectors=source.coverage.zero_vectors + lost,
    )
    return dataclasses.replace(
        source, vectors=vectors, present=present, basis=basis, explained_variance=None, coverage=coverage
    )
