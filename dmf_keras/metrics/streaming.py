"""Metrics of probabilities for `fit` and `evaluate`: sums over all batches, divided once at the end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from dmf_keras.metrics.formulas import LEAST_PROBABILITY
from dmf_keras.registration import dmf_keras_export
from dmf_keras.types import Tensor


class _StreamingSums(keras.metrics.Metric):
    """Running sums over samples, in float32 with the part that rounding lost kept beside them (Kahan).

    Plain float32 sums stop growing when a batch adds less than 6e-8 of what is there: positives of a long epoch do.
    """

    def __init__(self, sums: int, from_logits: bool, name: str, dtype: Any) -> None:
        super().__init__(name=name, dtype=dtype)
        self.from_logits = from_logits
        self.sums = self.add_variable((sums,), "zeros", dtype="float32", name="sums")
        self.lost = self.add_variable((sums,), "zeros", dtype="float32", name="lost")

    def add(self, values: Sequence[Tensor]) -> None:
        """Adds one number to each sum."""
        before = ops.convert_to_tensor(self.sums)
        values = ops.stack(values) - ops.convert_to_tensor(self.lost)
        after = before + values
        lost = (after - before) - values  # before any assignment: TensorFlow reads the variable again at each use
        self.sums.assign(after)
        self.lost.assign(lost)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {**super().get_config(), "from_logits": self.from_logits}


def _columns(y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Labels, predictions and weights as float32 [samples]."""
    labels, predictions = (ops.reshape(ops.cast(tensor, "float32"), (-1,)) for tensor in (y_true, y_pred))
    if sample_weight is None:
        return labels, predictions, ops.ones_like(predictions)
    # A reshape, so that weights of another number than the samples fail and are not broadcast.
    return labels, predictions, ops.reshape(ops.cast(sample_weight, "float32"), ops.shape(predictions))


@dmf_keras_export("dmf_keras.metrics.NormalizedEntropy")
class NormalizedEntropy(_StreamingSums):
    """Log loss over the log loss of always answering the base rate of the labels, for `fit` and `evaluate`.

        NE = mean(-y log p - (1 - y) log(1 - p)) / (-b log b - (1 - b) log(1 - b)),    b = mean(y)

    0 is perfect, 1 is as good as the base rate, above 1 is worse. Means are over all samples since `reset_state`,
    weighted: exact, and not a mean over batches. NaN while all labels are of one class, or nothing has weight.
    As `dmf_keras.metrics.normalized_entropy` on the same samples.

    Args:
        from_logits: bool; false: predictions are probabilities, clipped to [1e-7, 1 - 1e-7]; logits never are.
        name: of the metric.
        dtype: of the metric; sums are float32 in any case.

    Examples:

    >>> from dmf_keras.metrics import NormalizedEntropy
    >>> metric = NormalizedEntropy()
    >>> metric.update_state(np.array([1, 0]), np.array([0.5, 0.5]))
    >>> metric.update_state(np.array([0, 0]), np.array([0.9, 0.5]), sample_weight=np.array([0, 0]))
    >>> round(float(metric.result()), 4)
    1.0

    References:
        He et al. 2014, Practical lessons from predicting clicks on ads at Facebook.
    """

    def __init__(self, from_logits: bool = False, name: str = "normalized_entropy", dtype: Any = None) -> None:
        super().__init__(3, from_logits, name, dtype)

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        """Adds samples.

        Args:
            y_true: 0 or 1, [samples] or [samples, 1].
            y_pred: as many logits or probabilities.
            sample_weight: one per sample, 0 for padding; absent: 1.
        """
        labels, predictions, weights = _columns(y_true, y_pred, sample_weight)
        if self.from_logits:
            loss = ops.softplus(predictions) - labels * predictions
        else:
            # The logarithms are clipped, as float32 has no 1 - 1e-7.
            bounds = math.log(LEAST_PROBABILITY), math.log1p(-LEAST_PROBABILITY)
            positive, negative = (ops.clip(log, *bounds) for log in (ops.log(predictions), ops.log1p(-predictions)))
            loss = -labels * positive - (1 - labels) * negative
        self.add([ops.sum(weights * loss), ops.sum(weights * labels), ops.sum(weights)])

    def result(self) -> Tensor:
        """NE of all samples so far."""
        sums = ops.convert_to_tensor(self.sums)
        loss, positives, total = sums[0], sums[1], sums[2]
        both = ops.logical_and(positives > 0, positives < total)
        # Any base rate with a logarithm will do where there is none: NaN replaces the result.
        base = ops.where(both, positives / ops.where(both, total, 1.0), 0.5)
        entropy = -base * ops.log(base) - (1 - base) * ops.log1p(-base)
        return ops.where(both, loss / ops.where(both, total, 1.0) / entropy, float("nan"))


@dmf_keras_export("dmf_keras.metrics.CalibrationRatio")
class CalibrationRatio(_StreamingSums):
    """Sum of predicted probabilities over sum of labels, for `fit` and `evaluate`.

        ratio = sum(p) / sum(y)

    1 is calibrated, above 1 predicts too much. Sums are over all samples since `reset_state`, weighted: exact, and not
    a mean over batches. NaN while there are no positives. As `dmf_keras.metrics.calibration_ratio` on the same samples.

    Args:
        from_logits: bool; false: predictions are probabilities.
        name: of the metric.
        dtype: of the metric; sums are float32 in any case.

    Examples:

    >>> from dmf_keras.metrics import CalibrationRatio
    >>> metric = CalibrationRatio()
    >>> metric.update_state(np.array([1, 0]), np.array([0.5, 0.25]))
    >>> metric.update_state(np.array([0, 0]), np.array([0.5, 0.9]), sample_weight=np.array([1, 0]))
    >>> float(metric.result())
    1.25
    """

    def __init__(self, from_logits: bool = False, name: str = "calibration_ratio", dtype: Any = None) -> None:
        super().__init__(2, from_logits, name, dtype)

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        """Adds samples; arguments as of `NormalizedEntropy.update_state`."""
        labels, predictions, weights = _columns(y_true, y_pred, sample_weight)
        if self.from_logits:
            predictions = ops.sigmoid(predictions)
        self.add([ops.sum(weights * predictions), ops.sum(weights * labels)])

    def result(self) -> Tensor:
        """The ratio of all samples so far."""
        sums = ops.convert_to_tensor(self.sums)
        predicted, positives = sums[0], sums[1]
        some = positives > 0
        return ops.where(some, predicted / ops.where(some, positives, 1.0), float("nan"))
