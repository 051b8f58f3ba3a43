"""What the configuration asked of a model's metrics, and what was found. Of the run's page alone: no step reads it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from tensorflow_model_analysis import constants
from tensorflow_model_analysis.api import model_eval_lib
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.slicer import slicer_lib
from tensorflow_model_analysis.writers import eval_config_writer

from tfx_pipeline.evaluation import slices
from tfx_pipeline.evaluation.eval_config import BLESSING_SPLIT
from tfx_pipeline.evaluation.metrics import written_name
from tfx_pipeline.evaluation.results import existing_evaluation, expected_words
from tfx_pipeline.files.addresses import Address


class Demand(NamedTuple):
    """What the configuration asks of a metric on the split that decides.

    Attributes:
        metric: its name.
        expected, found: in words; nothing was found where the split has no answer.
        met: whether it holds.
    """

    metric: str
    expected: str
    found: str
    met: bool


def read_demands(evaluation_dir: Address) -> list[Demand]:
    """The thresholds that decided whether the model may be pushed, each with what was found.

    Those for a change are not among them where there was no model to compare with.

    Args:
        evaluation_dir: the Evaluator's `evaluation` output.

    Raises:
        ModelError: no evaluation lies there.
    """
    directory = existing_evaluation(evaluation_dir)
    verdict = model_eval_lib.load_validation_result(directory)
    failed = {
        (failure.metric_key.name, failure.metric_threshold.HasField("change_threshold"))
        for record in verdict.metric_validations_per_slice
        for failure in record.failures
    }
    found = _decisive_values(directory)
    demands = []
    for name, threshold in _thresholds(directory):
        # A threshold has one bound of each kind, or both: each kind is judged by itself.
        for is_change in (False, True):
            if not threshold.HasField("change_threshold" if is_change else "value_threshold"):
                continue
            value = found.get((name, is_change), math.nan)
            words = "" if math.isnan(value) else f"{value:+.4g}" if is_change else f"{value:.4g}"
            demands.append(Demand(name, expected_words(threshold, is_change), words, (name, is_change) not in failed))
    return demands


def _thresholds(directory: str) -> Iterator[tuple[str, config_pb2.MetricThreshold]]:
    """By the metric's name; the one that the split has a candidate is the pipeline's own."""
    for spec in eval_config_writer.load_eval_run(directory)[0].metrics_specs:
        for metric in spec.metrics:
            if (name := written_name(metric.class_name, metric.config)) is not None:
                yield from ((name, one.threshold) for one in metric.per_slice_thresholds)


def _decisive_values(directory: str) -> dict[tuple[str, bool], float]:
    """Metrics of the split that decides, by name and whether it is the change against the last blessed model."""
    return {
        (entry.key.name, entry.key.is_diff): entry.value.double_value.value
        for record in model_eval_lib.load_metrics(directory)
        if dict(slicer_lib.deserialize_slice_key(record.slice_key)) == {slices.SPLIT: BLESSING_SPLIT}
        for entry in record.metric_keys_and_values
        if entry.key.model_name != constants.BASELINE_KEY
    }
