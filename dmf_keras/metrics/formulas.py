"""The formulas of metrics of probabilities, which all that reports such a metric uses.

They check nothing, so that a row may be one of millions and a sum one of a thousand resamples: NaN gives NaN. What
takes columns of a user's and checks them is `log_loss`, `normalized_entropy` and `calibration_ratio`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

# Probabilities are clipped to [LEAST_PROBABILITY, 1 - LEAST_PROBABILITY] before a logarithm, as Keras does. Served ones
# are float32, whose largest two below 1 are 1 - 6.0e-8 and 1 - 1.2e-7: of what a model can say short of certainty the
# bound moves the first alone. A certain and wrong answer costs 16.1 nats and not infinity.
LEAST_PROBABILITY = 1e-7


def row_log_losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Negative log likelihood of each row in nats, float64 [rows].

    Args:
        labels: [rows], bool or 0 and 1.
        probabilities: [rows], clipped as `LEAST_PROBABILITY` says.
    """
    clipped = np.clip(np.asarray(probabilities, np.float64), LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    return -np.log(np.where(labels, clipped, 1 - clipped))


def base_rate_entropy(base_rate: ArrayLike) -> np.ndarray:
    """Log loss in nats of always answering a base rate, float64 of its shape; NaN where it is not between 0 and 1."""
    rate = np.asarray(base_rate, np.float64)
    rate = np.where((rate > 0) & (rate < 1), rate, np.nan)
    entropy: np.ndarray = -rate * np.log(rate) - (1 - rate) * np.log1p(-rate)
    return entropy


def entropy_ratio(loss: ArrayLike, base_rate: ArrayLike) -> np.ndarray:
    """Normalised entropy of a mean log loss; NaN where the labels are of one class.

    References:
        He et al. 2014, Practical lessons from predicting clicks on ads at Facebook.
    """
    ratio: np.ndarray = np.asarray(loss, np.float64) / base_rate_entropy(base_rate)
    return ratio


def calibration(predicted: ArrayLike, positives: ArrayLike) -> np.ndarray:
    """Sum of predictions over sum of labels; NaN without positives."""
    labels = np.asarray(positives, np.float64)
    ratio: np.ndarray = np.asarray(predicted, np.float64) / np.where(labels > 0, labels, np.nan)
    return ratio
