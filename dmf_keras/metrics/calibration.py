"""Do predicted probabilities add up to what happened?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dmf_keras.metrics.formulas import calibration
from dmf_keras.metrics.rows import labels_and_probabilities


def calibration_ratio(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Sum of predictions over sum of labels: 1 is calibrated, above 1 predicts too much. NaN without positives.

    Args:
        labels: [rows], 0 or 1.
        probabilities: [rows], in [0, 1].

    Raises:
        ValueError: different lengths, labels other than 0 and 1, probabilities outside [0, 1].
    """
    labels, probabilities = labels_and_probabilities(labels, probabilities)
    return float(calibration(probabilities.sum(), labels.sum()))


@dataclass(frozen=True)
class Reliability:
    """Prediction and outcome per bin of the prediction; all arrays [bins].

    Attributes:
        lower_edges: of the equal-width bins of [0, 1], closed on the left; 1 is in the last.
        rows: how many predictions fall into a bin.
        mean_prediction, mean_label: NaN where a bin is empty.
    """

    lower_edges: np.ndarray
    rows: np.ndarray
    mean_prediction: np.ndarray
    mean_label: np.ndarray

    @property
    def expected_error(self) -> float:
        """Mean of |mean prediction - mean label| over rows (expected calibration error); NaN without rows."""
        filled = self.rows > 0
        if not filled.any():
            return float("nan")
        gaps = np.abs(self.mean_prediction[filled] - self.mean_label[filled])
        return float(np.average(gaps, weights=self.rows[filled]))


def reliability(labels: ArrayLike, probabilities: ArrayLike, bins: int = 10) -> Reliability:
    """Reliability diagram of the predictions in equal-width bins. Arguments and errors as in `calibration_ratio`."""
    if bins < 1:
        raise ValueError(f"`bins` must be at least 1. Received: {bins!r}")
    labels, probabilities = labels_and_probabilities(labels, probabilities)
    index = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    rows = np.bincount(index, minlength=bins)
    divisor = np.where(rows > 0, rows, np.nan)
    return Reliability(
        lower_edges=np.arange(bins) / bins,
        rows=rows,
        mean_prediction=np.bincount(index, probabilities, minlength=bins) / divisor,
        mean_label=np.bincount(index, labels, minlength=bins) / divisor,
    )
