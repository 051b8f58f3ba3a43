"""Logits that are right on average: a rising line through points."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from dmf_keras.checks import check_count
from dmf_keras.ops.rows import take_rows
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


@dmf_keras_export("dmf_keras.layers.ScoreCalibration")
class ScoreCalibration(keras.layers.Layer):
    """Maps logits to calibrated ones by a rising line through points, which keeps the order of scores.

    Beyond the first and the last point the line goes on as it came. Two points are Platt scaling, a logit times a
    number plus another; many are isotonic regression. The points are not trained: `set_points` fills them, and they are
    saved with the model. Until then the logits stay as they are.

    Args:
        points: int, at least 2, how many points the line has.

    Examples:

    >>> from dmf_keras.layers import ScoreCalibration
    >>> layer = ScoreCalibration(points=2)
    >>> layer.set_points(np.array([0.0, 1.0]), np.array([-1.0, 1.0]))
    >>> keras.ops.convert_to_numpy(layer(np.array([[0.0, 0.5, 2.0]], "float32"))).tolist()
    [[-1.0, 0.0, 3.0]]

    References:
        Platt, Probabilistic Outputs for Support Vector Machines, 1999; Zadrozny and Elkan, Transforming Classifier
        Scores into Accurate Multiclass Probability Estimates, KDD 2002.
    """

    def __init__(self, points: int = 2, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.points = check_count("points", points)
        if points < 2:
            raise ValueError(f"`points` must be at least 2: a line needs as many. Received: {points}")
        self.x: Any = None
        self.y: Any = None

    def build(self, logits_shape: Any = None) -> None:
        """Creates the weights: points on the diagonal."""
        fixed: dict[str, Any] = {"shape": (self.points,), "dtype": "float32", "trainable": False, "autocast": False}
        self.x = self.add_weight(name="x", initializer="zeros", **fixed)
        self.y = self.add_weight(name="y", initializer="zeros", **fixed)
        diagonal = np.linspace(-1, 1, self.points, dtype=np.float32)
        self.x.assign(diagonal)
        self.y.assign(diagonal)

    def set_points(self, x: np.ndarray, y: np.ndarray) -> None:
        """Replaces the points.

        Args:
            x: logits, float [points], rising.
            y: calibrated logits, float [points], rising.

        Raises:
            ValueError: other shapes, values that are not finite, or do not rise.
        """
        x, y = np.asarray(x, np.float32), np.asarray(y, np.float32)
        for name, values in (("x", x), ("y", y)):
            if values.shape != (self.points,) or not np.isfinite(values).all() or not (np.diff(values) > 0).all():
                raise ValueError(
                    f"`{name}` must be {self.points} finite numbers that rise. Received: {values.shape} {values[:5]}"
                )
        if self.x is None:
            self.build()
        self.x.assign(x)
        self.y.assign(y)

    def call(self, logits: Tensor) -> Tensor:
        """Calibrated logits float32 [...] of `logits` float [...]."""
        logits = ops.cast(logits, "float32")
        if self.points == 2:
            return self.y[0] + (logits - self.x[0]) * ((self.y[1] - self.y[0]) / (self.x[1] - self.x[0]))
        slopes = (self.y[1:] - self.y[:-1]) / (self.x[1:] - self.x[:-1])
        # Of the inner points alone: before the first of them is the first piece, behind the last the last one.
        piece = ops.reshape(ops.searchsorted(self.x[1:-1], ops.reshape(logits, (-1,))), ops.shape(logits))
        return take_rows(self.y, piece) + (logits - take_rows(self.x, piece)) * take_rows(slopes, piece)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {**super().get_config(), "points": self.points}
