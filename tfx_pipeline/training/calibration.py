"""Probabilities that are right on average: how calibration is fitted, and what it changed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from keras import ops

from dmf_keras.metrics import calibration_ratio, log_loss
from dmf_keras.models.ranking_model import RankingModel
from tfx_pipeline.errors import ModelError
from tfx_pipeline.files.json_record import JsonRecord

# Steps of isotonic regression are flat. So much of the logit's own slope keeps the order of scores within a step.
_LEAST_SLOPE = 2e-3
_MOST_POINTS = 200
# The probability of a step without a click, and of one of clicks alone the rest to 1.
_EXTREME = 1e-6


@dataclass(frozen=True)
class CalibrationResult(JsonRecord):
    """What calibration changed on eval, which it was fitted on.

    Attributes:
        method: `platt` or `isotonic`.
        points: of the line from logits to calibrated ones.
        log_loss_before, log_loss_after: mean log loss.
        calibration_before, calibration_after: clicks that were promised over clicks that there were.
    """

    method: str
    points: int
    log_loss_before: float
    log_loss_after: float
    calibration_before: float
    calibration_after: float


def calibrate(model: RankingModel, batches: tf.data.Dataset, method: str) -> CalibrationResult | None:
    """Fits the calibration of a trained model on a split that it was not trained on; None for the method `none`.

    Of several objectives the first is calibrated, and the others that are conditional on it through the product.

    Args:
        model: gets the calibration.
        batches: of eval, as in training.
        method: `platt`: a logistic regression on the logit. `isotonic`: the best rising steps.

    Raises:
        ModelError: clicks fall with the score, or all scores are equal: no rising line fits.
    """
    if method == "none":
        return None
    logits, labels = _scored(model, batches)
    before = np.asarray(ops.sigmoid(logits))
    x, y = _platt(logits, labels) if method == "platt" else _isotonic(logits, labels)
    model.calibrate(x, y)
    assert model.calibration is not None
    after = np.asarray(ops.sigmoid(model.calibration(logits)))
    return CalibrationResult(
        method=method,
        points=len(x),
        log_loss_before=log_loss(labels, before),
        log_loss_after=log_loss(labels, after),
        calibration_before=calibration_ratio(labels, before),
        calibration_after=calibration_ratio(labels, after),
    )


def _scored(model: RankingModel, batches: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Logits float32 [n] and labels [n] of all candidates."""
    score = tf.function(lambda inputs: tf.cast(model(inputs), tf.float32), autograph=False, reduce_retracing=True)
    logits, labels = [], []
    for inputs, label, weight in batches:
        real = weight.numpy() > 0
        found, wanted = score(inputs).numpy(), label.numpy()
        # Of several objectives the first is calibrated.
        logits.append((found if found.ndim == 2 else found[..., 0])[real])
        labels.append((wanted if wanted.ndim == 2 else wanted[..., 0])[real])
    return np.concatenate(logits), np.concatenate(labels)


def _platt(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=np.inf).fit(logits[:, None].astype(np.float64), labels)
    slope, offset = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    if slope <= 0:
        raise ModelError(
            f"serving.calibration: on eval clicks fall with the score (slope {slope:.3g}); a calibration would turn "
            "the ranking round. The model has learnt nothing that holds there; set calibration: none to look at it"
        )
    x = np.array([-1.0, 1.0])
    return x, offset + slope * x


def _isotonic(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=_EXTREME, y_max=1 - _EXTREME).fit(logits.astype(np.float64), labels)
    x, p = fitted.X_thresholds_, fitted.y_thresholds_
    if len(x) > _MOST_POINTS:
        kept = np.unique(np.linspace(0, len(x) - 1, _MOST_POINTS).round().astype(int))
        x, p = x[kept], p[kept]
    y = np.log(p) - np.log1p(-p) + _LEAST_SLOPE * (x - x.mean())
    x, y = _rising(x.astype(np.float32), y.astype(np.float32))
    if len(x) < 2:
        raise ModelError("serving.calibration: all scores of eval are equal; the model has learnt nothing")
    return x, y


def _rising(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points that float32 tells apart from the one before, in both."""
    kept = [0]
    for place in range(1, len(x)):
        if x[place] > x[kept[-1]] and y[place] > y[kept[-1]]:
            kept.append(place)
    return x[kept], y[kept]
