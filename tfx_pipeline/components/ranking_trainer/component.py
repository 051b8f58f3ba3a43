"""What goes into and comes out of `RankingTrainer`."""

from __future__ import annotations

from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.proto import trainer_pb2
from tfx.types import component_spec, standard_artifacts, standard_component_specs
from tfx.utils import json_utils

from tfx_pipeline.components.artifacts import IngestionReport, ItemContent
from tfx_pipeline.components.ranking_trainer import executor

CONTENT_KEY = executor.CONTENT_KEY
REQUESTS_KEY = executor.REQUESTS_KEY
REPORT_KEY = executor.REPORT_KEY


class RankingTrainerSpec(standard_component_specs.TrainerSpec):
    """The Trainer's spec and three more inputs."""

    INPUTS = {
        **standard_component_specs.TrainerSpec.INPUTS,
        CONTENT_KEY: component_spec.ChannelParameter(type=ItemContent),
        REQUESTS_KEY: component_spec.ChannelParameter(type=standard_artifacts.Examples),
        REPORT_KEY: component_spec.ChannelParameter(type=IngestionReport),
    }


class RankingTrainer(base_component.BaseComponent):
    """TFX's Trainer, which takes only examples, a transform graph and a schema, given three more artifacts.

    Their URIs reach `run_fn` in `custom_config` as `content_uri`, `requests_uri` and `report_uri`; as inputs of the
    component they take part in lineage and caching.

    Component `outputs` contains:
        model: `standard_artifacts.Model`: the exported SavedModel with its contract, golden and warm-up requests
            and metadata.
        model_run: `standard_artifacts.ModelRun`: `model.keras`, `training.json`, TensorBoard logs.

    Args:
        examples: transformed examples.
        transform_graph: of Transform.
        content: of ItemContentGen.
        requests: raw examples, from which golden and warm-up requests are taken.
        report: of BehaviorLogExampleGen, for the model's metadata.
        hyperparameters: of RankingTuner, whose values replace the configuration's; None: those of the configuration.
        run_fn: dotted path of the training function.
        custom_config: JSON-serialisable values for `run_fn`.
    """

    SPEC_CLASS = RankingTrainerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        *,
        examples: types.BaseChannel,
        transform_graph: types.BaseChannel,
        content: types.BaseChannel,
        requests: types.BaseChannel,
        report: types.BaseChannel,
        hyperparameters: types.BaseChannel | None = None,
        run_fn: str,
        custom_config: dict[str, Any],
    ):
        spec = RankingTrainerSpec(
            examples=examples,
            transform_graph=transform_graph,
            hyperparameters=hyperparameters,
            run_fn=run_fn,
            train_args=trainer_pb2.TrainArgs(),
            eval_args=trainer_pb2.EvalArgs(),
            custom_config=json_utils.dumps(custom_config),
            model=types.Channel(type=standard_artifacts.Model),
            model_run=types.Channel(type=standard_artifacts.ModelRun),
            **{CONTENT_KEY: content, REQUESTS_KEY: requests, REPORT_KEY: report},
        )
        super().__init__(spec=spec)
