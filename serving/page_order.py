"""What orders a page of retrieved items: the ranker's score and that of retrieval."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NEAREST = 1e-6
"""How near to 0 and to 1 a score counts: the logit lies within 13.82 of 0."""


def page_scores(
    scores: NDArray[np.float32], retrieval_scores: NDArray[np.float32], weight: float
) -> NDArray[np.float32]:
    """logit(score) + weight * retrieval's score, as the signature `recommend` computes it.

    Retrieval's score is a logit of its own, of the softmax that its towers are trained with. The ranker knows the
    candidates that it was trained on and retrieval the whole catalogue, so that their sum can be better than both.

    Args:
        scores: of the ranker, float32 [...], in [0, 1].
        retrieval_scores: dot products, float32 of the same shape.
        weight: of retrieval's score; with 0 the order is that of `scores`, of which those that near to 0 or 1 are
            equal.
    """
    inside = np.clip(scores.astype(np.float32), np.float32(NEAREST), np.float32(1 - NEAREST))
    both: NDArray[np.float32] = np.log(inside) - np.log1p(-inside) + np.float32(weight) * retrieval_scores
    return both
