"""What a lower precision of the served model costs, measured on eval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from tfx_pipeline.config.metrics import with_objectives
from tfx_pipeline.evaluation.candidate_table import CandidateTable
from tfx_pipeline.files.json_record import JsonRecord

_METRICS = ("auc", "gauc", "log_loss")


@dataclass(frozen=True)
class Rounding(JsonRecord):
    """Scores of eval by the served model, beside those by the same model in float32.

    Attributes:
        precision: of the served model.
        impressions: that were scored.
        largest_score_difference: of a probability.
        differences: AUC, GAUC and log loss, of every objective, less those in float32; none where float32 has none.
    """

    precision: str
    impressions: int
    largest_score_difference: float
    differences: Mapping[str, float]

    @classmethod
    def of(cls, precision: str, exact: CandidateTable, rounded: CandidateTable) -> Self:
        """Of the rows of one split, scored by both."""
        names = with_objectives(_METRICS, exact.further)
        before, after = exact.metrics(names), rounded.metrics(names)
        columns = [(exact.column(name), rounded.column(name)) for name in ("", *exact.further)]
        largest = max(float(np.abs(one.probabilities - other.probabilities).max()) for one, other in columns)
        known = [name for name in names if not math.isnan(before[name])]
        return cls(precision, len(exact.labels), largest, {name: after[name] - before[name] for name in known})
