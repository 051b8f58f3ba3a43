"""From the configuration's `evaluation` section to TFMA's EvalConfig."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tensorflow_model_analysis.proto import config_pb2

from tfx_pipeline.config.schema import Evaluation, Threshold
from tfx_pipeline.evaluation import metrics, slices

# The split whose metrics decide whether a model is blessed.
BLESSING_SPLIT = "test"


def make_eval_config(evaluation: Evaluation, further: Sequence[str] = ()) -> config_pb2.EvalConfig:
    """The metrics, slices and thresholds of the Evaluator, for the signature `serving_default`.

    Thresholds hold for the whole test split. Besides those configured the split must have a candidate: so an
    evaluation of nothing blesses nothing, and a first run, whose change thresholds TFX drops for want of a baseline,
    still gets a verdict (without any threshold left TFX writes none, and nothing could ever be pushed).

    Args:
        evaluation: of the configuration.
        further: objectives beside the main one, in their order.

    Returns:
        A config with one unnamed model; TFX adds the baseline to it when there is one.
    """
    # Protos are imported from their own module: `tfma.EvalConfig` exists only once tfx has been imported.
    return config_pb2.EvalConfig(
        # Naming the type spares TFMA an attempt to load the model with Keras 2.
        model_specs=[config_pb2.ModelSpec(signature_name="serving_default", model_type="tf_generic")],
        metrics_specs=[
            config_pb2.MetricsSpec(
                metrics=[_metric_config(metric, evaluation) for metric in metrics.evaluated(evaluation.at_k, further)]
            )
        ],
        slicing_specs=[config_pb2.SlicingSpec(feature_keys=keys) for keys in slices.SLICINGS],
        options=config_pb2.Options(include_default_metrics={"value": False}),
    )


def _metric_config(metric: metrics.CandidateMetric, evaluation: Evaluation) -> config_pb2.MetricConfig:
    column = {"column": metric.column} if metric.column else {}
    config = config_pb2.MetricConfig(
        class_name=type(metric).__name__,
        module=type(metric).__module__,
        config=json.dumps({"name": metric.name, **column}),
    )
    thresholds: Mapping[Any, Threshold] = evaluation.thresholds
    threshold = Threshold(min=1) if isinstance(metric, metrics.CandidateCount) else thresholds.get(metric.name)
    if threshold is not None:
        config.per_slice_thresholds.add(
            slicing_specs=[config_pb2.SlicingSpec(feature_values={slices.SPLIT: BLESSING_SPLIT})],
            threshold=_metric_threshold(threshold),
        )
    return config


def _metric_threshold(threshold: Threshold) -> config_pb2.MetricThreshold:
    result = config_pb2.MetricThreshold()
    if threshold.min is not None:
        result.value_threshold.lower_bound.value = threshold.min
    if threshold.max is not None:
        result.value_threshold.upper_bound.value = threshold.max
    # A change is candidate - baseline; the direction only says on which side of `absolute` it must lie.
    if threshold.min_change is not None:
        result.change_threshold.direction = config_pb2.MetricDirection.HIGHER_IS_BETTER
        result.change_threshold.absolute.value = threshold.min_change
    elif threshold.max_change is not None:
        result.change_threshold.direction = config_pb2.MetricDirection.LOWER_IS_BETTER
        result.change_threshold.absolute.value = threshold.max_change
    return result
