"""The metrics as TFMA metrics, all computed from one accumulator of candidate rows.

TFMA's own metrics take one Python object per row; at hundreds of thousands of candidates that is minutes. Here an
extract holds the rows of a whole batch within one slice as arrays (see `extractors`), the one combiner collects those
arrays, and every metric is a function of the collected rows, exact and without thresholds or bins.

Memory: 17 bytes per row, slice and model (a row is in four slices: its split, and its split by each of three columns).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, ClassVar

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.metrics import metric_types
from typing_extensions import override

from dmf_keras.metrics import AUCByGroup, RankingByRequest, auc_by_group, ranking_by_request
from dmf_keras.metrics.formulas import calibration, entropy_ratio, row_log_losses
from dmf_keras.metrics.ranking_by_request import mean_of
from tfx_pipeline.config.metrics import by_request, cut_off, of_objective

# Features key under which an extract carries the 64-bit hash of each row's user.
USER_KEY = "user_key"
# And the number of its request, among those of the extract.
REQUEST_KEY = "request"


@dataclasses.dataclass(frozen=True)
class CandidateRows:
    """Candidate rows of one slice, scored by one model.

    Attributes:
        labels: bool [n].
        predictions: float32 [n], probabilities.
        users: uint64 [n], the same for the same user.
        requests: int32 [n], the same for the same request; from 0, with gaps.
    """

    labels: np.ndarray
    predictions: np.ndarray
    users: np.ndarray
    requests: np.ndarray

    @classmethod
    def concatenate(cls, parts: Iterable[CandidateRows]) -> CandidateRows:
        """All rows of `parts`, of which there is at least one; no request is in two of them."""
        parts, requests, first = list(parts), [], 0
        for part in parts:
            requests.append(part.requests + np.int32(first))
            first = int(requests[-1].max(initial=first - 1)) + 1
        labels, predictions, users = zip(*((part.labels, part.predictions, part.users) for part in parts), strict=True)
        return cls(*map(np.concatenate, (labels, predictions, users, requests)))

    @cached_property
    def base_rate(self) -> float:
        """Share of positives."""
        return float(self.labels.mean())

    @cached_property
    def log_loss(self) -> float:
        """Mean negative log-likelihood in nats, as `dmf_keras.metrics.log_loss`."""
        return float(row_log_losses(self.labels, self.predictions).mean())

    @cached_property
    def auc_by_user(self) -> AUCByGroup:
        """AUC of each user over all of that user's rows here."""
        return auc_by_group(self.users, self.labels, self.predictions)

    @cached_property
    def by_request(self) -> RankingByRequest:
        """How each request's rows here are ranked among each other."""
        return ranking_by_request(self.requests, self.labels, self.predictions)


class CandidateMetric(metric_types.Metric):
    """A number computed from the candidate rows of a slice.

    A subclass gives `metric_name` and `compute`. Where a slice has no answer (one label class, say) `compute` returns
    NaN, which TFMA writes as such and which passes no threshold. Example weights are refused by TFMA itself.
    """

    metric_name: ClassVar[str]

    def __init__(self, name: str = "", column: int = 0):
        """Creates the metric.

        Args:
            name: defaults to `metric_name`; `OBJECTIVE/NAME` of an objective beside the main one.
            column: place of the objective.
        """
        self.column = column
        super().__init__(self._create_computations, name=name)

    def _default_name(self) -> str:
        return self.metric_name

    @staticmethod
    def compute(rows: CandidateRows) -> float:
        """Value of the metric for `rows`, of which there is at least one."""
        raise NotImplementedError

    def value(self, rows: CandidateRows) -> float:
        """As `compute`, also of a metric that has a parameter."""
        return self.compute(rows)

    def _create_computations(self, name: str, model_names: list[str] | None) -> metric_types.MetricComputations:
        computations: metric_types.MetricComputations = []
        for model_name in model_names or [""]:
            # Of each objective rows of its own; keys of the main one are those of a model that has no other.
            name_of_rows = "_candidate_rows" + (f"_{self.column}" if self.column else "")
            rows_key = metric_types.MetricKey(name_of_rows, model_name)
            # The same for every metric: TFMA runs equal computations once, and drops keys that begin with "_".
            computations.append(
                metric_types.MetricComputation(
                    [rows_key], [_RowsPreprocessor(model_name, self.column)], _CollectRows(rows_key)
                )
            )
            computations.append(_derived(metric_types.MetricKey(name, model_name), rows_key, self))
        return computations


def _derived(
    key: metric_types.MetricKey, rows_key: metric_types.MetricKey, metric: CandidateMetric
) -> metric_types.DerivedMetricComputation:
    def result(metrics: dict[metric_types.MetricKey, Any]) -> dict[metric_types.MetricKey, float]:
        rows = metrics[rows_key]
        # Of a baseline that does not predict the objective.
        return {key: float("nan") if np.isnan(rows.predictions).all() else metric.value(rows)}

    return metric_types.DerivedMetricComputation([key], result)


class _RowsPreprocessor(metric_types.Preprocessor):
    """From an extract of arrays to the candidate rows of one model."""

    def __init__(self, model_name: str, column: int = 0):
        super().__init__(name=f"candidate_rows:{model_name}" + (f":{column}" if column else ""))
        self._model_name = model_name
        self._column = column

    def process(self, extracts: dict[str, Any]) -> Iterator[CandidateRows]:
        predictions = extracts[constants.PREDICTIONS_KEY]
        if isinstance(predictions, dict):  # TFMA's convention: by model name when there are several
            predictions = predictions[self._model_name]
        features, labels = extracts[constants.FEATURES_KEY], extracts[constants.LABELS_KEY]
        if labels.ndim == 2:
            labels, predictions = labels[:, self._column], predictions[:, self._column]
        yield CandidateRows(labels, predictions, features[USER_KEY], features[REQUEST_KEY])


class _CollectRows(beam.CombineFn):
    """Concatenates candidate rows; the accumulator is a list of them, compacted to one before it travels."""

    def __init__(self, key: metric_types.MetricKey):
        self._key = key

    def create_accumulator(self) -> list[CandidateRows]:
        return []

    def add_input(self, accumulator: list[CandidateRows], rows: CandidateRows) -> list[CandidateRows]:
        accumulator.append(rows)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[list[CandidateRows]]) -> list[CandidateRows]:
        return [rows for accumulator in accumulators for rows in accumulator]

    def compact(self, accumulator: list[CandidateRows]) -> list[CandidateRows]:
        return [CandidateRows.concatenate(accumulator)] if len(accumulator) > 1 else accumulator

    def extract_output(self, accumulator: list[CandidateRows]) -> dict[metric_types.MetricKey, CandidateRows]:
        return {self._key: CandidateRows.concatenate(accumulator)}


class CandidateAUC(CandidateMetric):
    """Area under the ROC curve over all candidates of the slice, exact; a tied pair counts one half.

    NaN for one label class.
    """

    metric_name = "auc"

    @staticmethod
    @override
    def compute(rows: CandidateRows) -> float:
        return float(auc_by_group(np.zeros(len(rows.labels), np.int8), rows.labels, rows.predictions).auc[0])


class GAUC(CandidateMetric):
    """AUC per user, averaged with the user's number of candidates as weight (Zhou et al. 2018, arXiv:1706.06978).

    A user's AUC is over all of the user's candidates in the slice, whatever the request; a tied pair counts one half.
    Users with one label class are left out, weight and all; `GAUCSkippedUsers` says how many. NaN if none is left.
    """

    metric_name = "gauc"

    @staticmethod
    @override
    def compute(rows: CandidateRows) -> float:
        return rows.auc_by_user.size_weighted_mean()


class GAUCEqual(CandidateMetric):
    """AUC per user, every user with the same weight; otherwise as `GAUC`."""

    metric_name = "gauc_equal"

    @staticmethod
    @override
    def compute(rows: CandidateRows) -> float:
        return rows.auc_by_user.mean()


class GAUCSkippedUsers(CandidateMetric):
    """Share of the slice's users that GAUC leaves out because their candidates have one label class."""

    metric_name = "gauc_skipped_users"

    @staticmethod
    @override
    def compute(rows: CandidateRows) -> float:
        return float(1 - rows.auc_by_user.has_both_classes.mean())


class LogLoss(CandidateMetric):
    """Mean negative log-likelihood in nats; predictions are clipped to [1e-7, 1 - 1e-7]."""

    metric_name = "log_loss"

    @staticmethod
    @override
    def compute(rows: CandidateRows) -> float:
        return rows.log_loss


class NormalizedEntropy(CandidateMetric):
    """Log loss over the entropy of the slice's base rate (He et al. 2014): 1 is as good as always saying the base rate.

    NaN for one label class, whose entropy is 0.
    """

    metric_name = "normalized_entropy"

    @staticmethod
    @override
    def compute(rows: CandidateRows) -> float:
        return float(entropy_ratio(rows.log_loss, rows.base_rate))


class CalibrationRatio(CandidateMetric):
    """Sum of predictions over sum of labels: above 1 the model promises too many clicks. NaN without a positive."""

    metric_name = "calibration"

    @staticmethod
    @override
    def compute(rows: CandidateRows) -> float:
        return float(calibration(rows.predictions.sum(dtype=np.float64), rows.labels.sum()))


class _RequestMetric(CandidateMetric):
    """The mean of a metric of each request, over those that have an answer, each with the same weight; NaN for none.

    Candidates of one request in the slice are ranked among each other. Those of equal score count as their mean over
    random orders, see `dmf_keras.metrics.ranking_by_request`.
    """

    @override
    def value(self, rows: CandidateRows) -> float:
        return mean_of(*values_by_request(of_objective(self.name or "")[1], rows.by_request))


class RequestHitRate(_RequestMetric):
    """Share of requests with a positive among their first k candidates, of those that have one; named `hr@K`."""

    metric_name = "hr"


class RequestNDCG(_RequestMetric):
    """NDCG of the first k candidates, with gains 0 and 1, over requests with a positive; named `ndcg@K`."""

    metric_name = "ndcg"


class RequestMRR(_RequestMetric):
    """1 / rank of a request's first positive, over requests with a positive."""

    metric_name = "mrr"


class RequestAUC(_RequestMetric):
    """AUC within a request, over requests with a positive and a negative."""

    metric_name = "request_auc"


class RequestCount(CandidateMetric):
    """Number of requests."""

    metric_name = "request_count"

    @staticmethod
    @override
    def compute(rows: CandidateRows) -> float:
        return float(len(rows.by_request.has_positive))


class SkippedRequests(CandidateMetric):
    """Share of requests without a positive, which hit rate, NDCG and MRR leave out."""

    metric_name = "skipped_requests"

    @staticmethod
    @override
    def compute(rows: CandidateRows) -> float:
        return float(1 - rows.by_request.has_positive.mean())


class RequestAUCSkippedRequests(CandidateMetric):
    """Share of requests with one label class, which the AUC by request leaves out."""

    metric_name = "request_auc_skipped_requests"

    @staticmethod
    @override
    def compute(rows: CandidateRows) -> float:
        return float(1 - rows.by_request.auc.has_both_classes.mean())


class CandidateCount(CandidateMetric):
    """Number of candidates."""

    metric_name = "example_count"

    @staticmethod
    @override
    def compute(rows: CandidateRows) -> float:
        return float(len(rows.labels))


class BaseRate(CandidateMetric):
    """Share of candidates with label 1."""

    metric_name = "base_rate"

    @staticmethod
    @override
    def compute(rows: CandidateRows) -> float:
        return rows.base_rate


def values_by_request(name: str, ranking: RankingByRequest) -> tuple[np.ndarray, np.ndarray]:
    """A metric of single requests.

    Args:
        name: one of `tfx_pipeline.config.metrics.by_request`.
        ranking: of R requests.

    Returns:
        Its values float64 [R], and which requests have an answer, bool [R].
    """
    if name == RequestAUC.metric_name:
        return ranking.auc.auc, ranking.auc.has_both_classes
    if name == RequestMRR.metric_name:
        return ranking.reciprocal_rank(), ranking.has_positive
    k = cut_off(name)
    assert k is not None, f"no metric of requests: {name}"
    return (ranking.hit_rate if name.startswith(RequestHitRate.metric_name) else ranking.ndcg)(k), ranking.has_positive


# Every metric above by its name or, of the first k candidates, by its name before the @, in that order.
_METRICS = {
    metric.metric_name: metric
    for base in (CandidateMetric, _RequestMetric)
    for metric in base.__subclasses__()
    if metric is not _RequestMetric
}


def named(name: str, column: int = 0) -> CandidateMetric:
    """The metric that a configuration and an evaluation know by a name.

    Args:
        name: of the metric.
        column: place of its objective, where the rows are those of several.

    Raises:
        KeyError: there is none.
    """
    metric: type[CandidateMetric] = _METRICS[of_objective(name)[1].partition("@")[0]]
    return metric(name, column)


def written_name(class_name: str, config: str) -> str | None:
    """Name of a metric in an evaluation's own record of what it computed.

    Args:
        class_name: of the metric.
        config: its configuration, JSON; before metrics of the first k candidates it was empty.

    Returns:
        None where the class is none of these, or counts candidates only.
    """
    found = {metric.__name__: metric for metric in _METRICS.values() if metric is not CandidateCount}.get(class_name)
    if found is None:
        return None
    name: str = (json.loads(config) if config else {}).get("name", found.metric_name)
    return name


def evaluated(at_k: Iterable[int], further: Iterable[str] = ()) -> list[CandidateMetric]:
    """All metrics of an evaluation.

    Args:
        at_k: of the section `evaluation`.
        further: objectives beside the main one, in their order.
    """
    names = [name for name, metric in _METRICS.items() if not issubclass(metric, _RequestMetric)]
    names += by_request(at_k)
    # How many candidates and requests there are is the same for all objectives.
    of_each = [name for name in names if _METRICS[name.partition("@")[0]] not in (CandidateCount, RequestCount)]
    return [
        *map(named, names),
        *(named(f"{objective}/{name}", 1 + place) for place, objective in enumerate(further) for name in of_each),
    ]


def values(rows: CandidateRows, names: Iterable[str]) -> dict[str, float]:
    """Metrics of rows by name; NaN where there is no answer."""
    return {name: named(name).value(rows) for name in names}
