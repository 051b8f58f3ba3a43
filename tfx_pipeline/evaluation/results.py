"""What an evaluation found, for the run's summary."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from tensorflow_model_analysis import constants
from tensorflow_model_analysis.api import model_eval_lib
from tensorflow_model_analysis.proto import config_pb2, metrics_for_slice_pb2, validation_result_pb2
from tensorflow_model_analysis.slicer import slicer_lib

from tfx_pipeline.errors import ModelError
from tfx_pipeline.evaluation import slices
from tfx_pipeline.files.addresses import Address
from tfx_pipeline.files.reading import list_names

# metric -> value, None where the slice has no answer (one label class, say).
MetricValues = Mapping[str, float | None]

_OVERALL = "overall"


@dataclass(frozen=True)
class SplitMetrics:
    """Metrics of one split.

    Attributes:
        overall: of all its candidates.
        slices: by slice column and bucket; buckets without a candidate are absent.
    """

    overall: MetricValues
    slices: Mapping[str, Mapping[str, MetricValues]]

    def to_json(self) -> dict[str, Any]:
        """`{"overall": {metric: value}, slice column: {bucket: {metric: value}}}`."""
        return {_OVERALL: self.overall, **self.slices}


class Validation(NamedTuple):
    """Whether the model may be pushed, and why not.

    Attributes:
        blessed: every threshold holds.
        failures: a sentence for each threshold that does not.
    """

    blessed: bool
    failures: list[str]


def read_metrics(evaluation_dir: Address) -> dict[str, SplitMetrics]:
    """Metrics of the candidate model, by split.

    Args:
        evaluation_dir: the Evaluator's `evaluation` output.

    Raises:
        ModelError: no evaluation lies there.
    """
    directory = existing_evaluation(evaluation_dir)
    overall: dict[str, MetricValues] = {}
    by_column: dict[str, dict[str, dict[str, MetricValues]]] = {}
    for record in model_eval_lib.load_metrics(directory):
        key = dict(slicer_lib.deserialize_slice_key(record.slice_key))
        split, values = key.pop(slices.SPLIT), _candidate_values(record)
        if key:
            ((column, bucket),) = key.items()
            by_column.setdefault(split, {}).setdefault(column, {})[bucket] = values
        else:
            overall[split] = values
    return {
        split: SplitMetrics(
            overall[split],
            {
                column: dict(sorted(buckets.items(), key=_order))
                for column, buckets in sorted(by_column.get(split, {}).items())
            },
        )
        for split in sorted(overall)
    }


def read_validation(evaluation_dir: Address) -> Validation:
    """The verdict on the candidate model, in words.

    Args:
        evaluation_dir: the Evaluator's `evaluation` output.

    Raises:
        ModelError: no evaluation lies there.
    """
    verdict = model_eval_lib.load_validation_result(existing_evaluation(evaluation_dir))
    failures = [
        _sentence(failure, _slice_name(dict(slicer_lib.deserialize_slice_key(record.slice_key))))
        for record in verdict.metric_validations_per_slice
        for failure in record.failures
    ]
    failures += [
        f"no candidates in {_slice_name(dict(spec.feature_values))}: its thresholds cannot be checked"
        for spec in verdict.missing_slices
    ]
    return Validation(verdict.validation_ok, failures)


def _order(entry: tuple[str, MetricValues]) -> int:
    return slices.bucket_order(entry[0])


def existing_evaluation(evaluation_dir: Address) -> str:
    """The folder as text.

    Raises:
        ModelError: no evaluation lies there.
    """
    directory = os.fspath(evaluation_dir)
    if not any(name.startswith(constants.VALIDATIONS_KEY) for name in list_names(directory)):
        raise ModelError(f"no evaluation in '{directory}'; expected the 'evaluation' output of a finished Evaluator")
    return directory


def _candidate_values(record: metrics_for_slice_pb2.MetricsForSlice) -> MetricValues:
    values: dict[str, float | None] = {}
    for entry in record.metric_keys_and_values:
        # With a baseline there are also its own values and the differences.
        if entry.key.model_name != constants.BASELINE_KEY and not entry.key.is_diff:
            value = entry.value.double_value.value
            values[entry.key.name] = value if math.isfinite(value) else None
    return values


def _slice_name(key: dict[str, str]) -> str:
    return f"split '{key[slices.SPLIT]}'" + "".join(
        f", {column} '{bucket}'" for column, bucket in key.items() if column != slices.SPLIT
    )


def _sentence(failure: validation_result_pb2.ValidationFailure, slice_name: str) -> str:
    where, value = f"{failure.metric_key.name} on {slice_name}", failure.metric_value.double_value.value
    if not failure.HasField("metric_value"):
        return f"{where}: {failure.message}"
    is_change = failure.metric_threshold.HasField("change_threshold")
    found = f"changed by {value:+.6g} against the last blessed model" if is_change else f"is {value:.6g}"
    if math.isnan(value):
        found = "has no value (one label class only, or a model that predicts NaN)"
    return f"{where} {found}; expected {expected_words(failure.metric_threshold, is_change)}"


def expected_words(threshold: config_pb2.MetricThreshold, is_change: bool) -> str:
    """What a threshold asks of a metric's value or, if `is_change`, of its change against the last blessed model."""
    if is_change:
        falls = threshold.change_threshold.direction == config_pb2.MetricDirection.LOWER_IS_BETTER
        return f"{'at most' if falls else 'at least'} {threshold.change_threshold.absolute.value:+g}"
    bounds = threshold.value_threshold
    return " and ".join(
        f"{words} {getattr(bounds, field).value:g}"
        for words, field in (("at least", "lower_bound"), ("at most", "upper_bound"))
        if bounds.HasField(field)
    )
