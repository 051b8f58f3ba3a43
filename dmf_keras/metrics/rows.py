"""What every metric expects of its columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def label_column(labels: ArrayLike) -> np.ndarray:
    """Labels as float64 [rows].

    Raises:
        ValueError: not one-dimensional, or other values than 0 and 1.
    """
    column = np.asarray(labels, np.float64)
    if column.ndim != 1:
        raise ValueError(f"`labels` must have shape (rows,). Received: {column.shape}")
    if (wrong := ~np.isin(column, (0.0, 1.0))).any():
        raise ValueError(
            f"`labels` must be 0 or 1. Received: {column[np.argmax(wrong)]} in row {int(np.argmax(wrong))}"
        )
    return column


def value_column(name: str, values: ArrayLike, rows: int, low: float = -np.inf, high: float = np.inf) -> np.ndarray:
    """Values as float64 [rows].

    Raises:
        ValueError: another length than the labels, NaN, or outside [low, high].
    """
    column = np.asarray(values, np.float64)
    if column.shape != (rows,):
        raise ValueError(f"`{name}` must have shape ({rows},), as the labels. Received: {column.shape}")
    if (wrong := ~((column >= low) & (column <= high))).any():
        row = int(np.argmax(wrong))
        raise ValueError(f"`{name}` must be from {low:g} to {high:g}. Received: {column[row]} in row {row}")
    return column


def labels_and_probabilities(labels: ArrayLike, probabilities: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 [rows].

    Raises:
        ValueError: different lengths, labels other than 0 and 1, probabilities outside [0, 1].
    """
    column = label_column(labels)
    return column, value_column("probabilities", probabilities, column.size, 0, 1)
