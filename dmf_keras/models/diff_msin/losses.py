"""The two auxiliary losses of Diff-MSIN, of candidates [B, N]."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from keras import ops

from dmf_keras.models.auxiliary_losses import mean_of_candidates
from dmf_keras.ops.cosine import cosine
from dmf_keras.types import Tensor


def pairwise_cosine(streams: Sequence[Tensor], present: Sequence[Tensor], weights: Tensor) -> Tensor:
    """The mean cosine of two streams, over candidates that have both and then over pairs of streams: float32 scalar.

    Args:
        streams: float [B, N, D], one a modality.
        present: bool [B, N], one a modality.
        weights: float32 [B, N].
    """
    means = [
        mean_of_candidates(
            cosine(streams[i], streams[j]), ops.where(ops.logical_and(present[i], present[j]), weights, 0.0)
        )
        for i, j in combinations(range(len(streams)), 2)
    ]
    return sum(means) / len(means)


def synergy_hinge(candidate: Tensor, history: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """The mean of relu(1 - c) where the label is 1 and of relu(1 + c) where it is 0, c the cosine: float32 scalar.

    Args:
        candidate, history: float [B, N, D].
        labels, weights: float32 [B, N].
    """
    cosines = cosine(candidate, history)
    hinge = labels * ops.relu(1.0 - cosines) + (1.0 - labels) * ops.relu(1.0 + cosines)
    return mean_of_candidates(hinge, weights)
