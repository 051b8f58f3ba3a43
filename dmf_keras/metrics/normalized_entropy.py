"""Log loss, alone and against the base rate."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from dmf_keras.metrics.rows import labels_and_probabilities

# Of float32, in which probabilities are served: a certain and wrong answer costs 15.9 nats and not infinity.
SMALLEST_PROBABILITY = float(np.finfo(np.float32).eps)


def log_loss(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean negative log likelihood in nats; probabilities are clipped to [1.2e-7, 1 - 1.2e-7]. NaN without rows.

    Args:
        labels: [rows], 0 or 1.
        probabilities: [rows], in [0, 1].

    Raises:
        ValueError: different lengths, labels other than 0 and 1, probabilities outside [0, 1].
    """
    labels, probabilities = labels_and_probabilities(labels, probabilities)
    if not labels.size:
        return float("nan")
    clipped = np.clip(probabilities, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    return float(-np.mean(np.where(labels == 1, np.log(clipped), np.log1p(-clipped))))


def normalized_entropy(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Log loss over the log loss of always answering the base rate of these labels.

    0 is perfect, 1 is as good as the base rate, above 1 is worse. NaN when the labels are of one class, where the base
    rate is certain. Arguments and errors as in `log_loss`.

    References:
        He et al. 2014, Practical lessons from predicting clicks on ads at Facebook.
    """
    loss = log_loss(labels, probabilities)
    base = float(np.mean(np.asarray(labels, np.float64))) if np.size(labels) else float("nan")
    if not 0 < base < 1:
        return float("nan")
    return loss / float(-(base * np.log(base) + (1 - base) * np.log1p(-base)))
