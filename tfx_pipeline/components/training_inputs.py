"""What `RankingTrainer` and `RankingTuner` add to TFX's Trainer and Tuner."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tfx.proto import trainer_pb2
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter
from tfx.utils import json_utils

from tfx_pipeline.components.artifacts import IngestionReport, ItemContent
from tfx_pipeline.training.input_uris import CONTENT, FIRST_RUN, REPORT, REQUESTS, RETRIEVAL_RUN

_TYPES = {
    CONTENT: ItemContent,
    REQUESTS: standard_artifacts.Examples,
    REPORT: IngestionReport,
    FIRST_RUN: standard_artifacts.ModelRun,
    RETRIEVAL_RUN: standard_artifacts.ModelRun,
}


def further_inputs(keys: Iterable[str], *, optional: bool = False) -> dict[str, ChannelParameter]:
    """Inputs of a spec, for of those of `tfx_pipeline.training.input_uris`."""
    return {key: ChannelParameter(type=_TYPES[key], optional=optional) for key in keys}


def parameters(custom_config: dict[str, Any]) -> dict[str, Any]:
    """Parameters of a spec: the values for the user function, and TFX's numbers of steps, which it does not look at."""
    return {
        "train_args": trainer_pb2.TrainArgs(),
        "eval_args": trainer_pb2.EvalArgs(),
        "custom_config": json_utils.dumps(custom_config),
    }
