"""Log loss, alone and against the base rate."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from dmf_keras.metrics.formulas import entropy_ratio, row_log_losses
from dmf_keras.metrics.rows import labels_and_probabilities


def log_loss(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean negative log likelihood in nats; probabilities are clipped to [1e-7, 1 - 1e-7]. NaN without rows.

    Args:
        labels: [rows], 0 or 1.
        probabilities: [rows], in [0, 1].

    Raises:
        ValueError: different lengths, labels other than 0 and 1, probabilities outside [0, 1].
    """
    labels, probabilities = labels_and_probabilities(labels, probabilities)
    return float(row_log_losses(labels, probabilities).mean()) if labels.size else float("nan")


def normalized_entropy(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Log loss over the log loss of always answering the base rate of these labels.

    0 is perfect, 1 is as good as the base rate, above 1 is worse. NaN when the labels are of one class, where the base
    rate is certain. Arguments and errors as in `log_loss`.

    References:
        He et al. 2014, Practical lessons from predicting clicks on ads at Facebook.
    """
    loss = log_loss(labels, probabilities)
    return float(entropy_ratio(loss, np.mean(np.asarray(labels, np.float64)))) if np.size(labels) else float("nan")
