"""Principal directions of content embeddings: fewer dimensions, nearly the same cosines."""

from __future__ import annotations

import numpy as np


def principal_directions(second_moment: np.ndarray, dim: int) -> tuple[np.ndarray, float]:
    """The `dim` directions that keep most of the embeddings' squared length.

    The moment is taken about the origin, not about the mean: the reduced vectors exist for their cosines, cosine is an
    angle at the origin, and the truncated basis of the *uncentred* unit vectors gives the best rank-`dim` approximation
    of all their dot products at once (Eckart and Young 1936). Subtracting the mean would measure angles from another
    point. Measured against the full cosines of 200,000 random pairs, reduced to 64:

    | embeddings | mean absolute error | correlation | centred: error | centred: correlation |
    |---|---|---|---|---|
    | ml1m text, 384 | 0.092 | 0.969 | 0.283 | 0.789 |
    | ml1m posters, 1280 | 0.151 | 0.929 | 0.407 | 0.695 |
    | microlens50k text, 384 | 0.092 | 0.945 | 0.175 | 0.745 |

    The error is a shift towards 1 for the most part (what is dropped is what told two items apart), so the order of the
    cosines survives better than their values. Random pairs are the hardest case: most of an item's direction is noise.

    Args:
        second_moment: [width, width], mean of x x^T over unit-length embeddings x.
        dim: how many directions, at most width.

    Returns:
        Basis [width, dim] float32, orthonormal columns, most important first, the largest component of each positive
        (an eigenvector's sign is otherwise the linear-algebra library's whim); and the share of squared length kept.
    """
    values, vectors = np.linalg.eigh(second_moment)
    basis = vectors[:, ::-1][:, :dim]
    largest = np.take_along_axis(basis, np.abs(basis).argmax(axis=0)[None], axis=0)
    kept = float(values[::-1][:dim].sum() / values.sum())
    return (basis * np.sign(largest)).astype(np.float32), kept
