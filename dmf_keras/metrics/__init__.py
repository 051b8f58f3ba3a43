"""Ranking and calibration metrics.

Functions on NumPy arrays are exact and free of Keras. `NormalizedEntropy` and `CalibrationRatio` are Keras metrics for
`fit`; they, and Keras with them, load on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dmf_keras.metrics.auc_by_group import AUCByGroup, auc_by_group
from dmf_keras.metrics.calibration import Reliability, calibration_ratio, reliability
from dmf_keras.metrics.gauc import GroupedAUC, grouped_auc
from dmf_keras.metrics.normalized_entropy import log_loss, normalized_entropy
from dmf_keras.metrics.ranking_by_request import RankingByRequest, ranking_by_request
from dmf_keras.metrics.request_ranking import RequestRanking, request_ranking

if TYPE_CHECKING:
    from dmf_keras.metrics.streaming import CalibrationRatio, NormalizedEntropy

__all__ = [
    "AUCByGroup",
    "CalibrationRatio",
    "GroupedAUC",
    "NormalizedEntropy",
    "RankingByRequest",
    "Reliability",
    "RequestRanking",
    "auc_by_group",
    "calibration_ratio",
    "grouped_auc",
    "log_loss",
    "normalized_entropy",
    "ranking_by_request",
    "reliability",
    "request_ranking",
]


def __getattr__(name: str) -> Any:
    if name in ("CalibrationRatio", "NormalizedEntropy"):
        return getattr(import_module("dmf_keras.metrics.streaming"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has: {', '.join(__all__)}")
