"""What a lower precision of the served model costs, measured on eval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from tfx_pipeline.config.metrics import of_objective, with_objectives
from tfx_pipeline.evaluation.bootstrap import RESAMPLED, interval, resampled_metrics
from tfx_pipeline.evaluation.candidate_table import CandidateTable
from tfx_pipeline.files.json_record import JsonRecord


@dataclass(frozen=True)
class Change:
    """A metric less that in float32, and the 95 % interval of the difference, by a bootstrap over users."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Rounding(JsonRecord):
    """Scores of eval by the served model, beside those by the same model in float32.

    Attributes:
        precision: of the served model.
        impressions: that were scored.
        largest_score_difference: of a probability.
        changes: of AUC, GAUC and log loss, of every objective; none where too few users have an answer.
    """

    precision: str
    impressions: int
    largest_score_difference: float
    changes: Mapping[str, Change]

    @classmethod
    def of(cls, precision: str, exact: CandidateTable, rounded: CandidateTable) -> Self:
        """Of the rows of one split, scored by both."""
        columns = [(exact.column(name), rounded.column(name)) for name in ("", *exact.further)]
        largest = max(float(np.abs(one.probabilities - other.probabilities).max()) for one, other in columns)
        return cls(precision, len(exact.labels), largest, dict(_changes(exact, rounded)))


def _changes(exact: CandidateTable, rounded: CandidateTable) -> Iterator[tuple[str, Change]]:
    names = with_objectives(RESAMPLED, exact.further)
    before, after = exact.metrics(names), rounded.metrics(names)
    resampled = {}
    for objective in ("", *exact.further):
        labels, probabilities = exact.column(objective)
        pair = [probabilities, rounded.column(objective).probabilities]
        resampled[objective] = resampled_metrics(labels, exact.users, pair)
    for name in names:
        objective, metric = of_objective(name)
        exactly, nearly = resampled[objective][metric]
        found = interval(nearly - exactly)
        if found is not None:
            yield name, Change(after[name] - before[name], *found)
