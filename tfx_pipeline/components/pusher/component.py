"""TFX's Pusher component with the evaluation as a further input, over an executor of our own."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.proto import pusher_pb2
from tfx.types import component_spec, standard_artifacts, standard_component_specs

from tfx_pipeline.components.pusher import executor


class PusherSpec(standard_component_specs.PusherSpec):
    """TFX's spec, and the evaluation."""

    INPUTS = {
        **standard_component_specs.PusherSpec.INPUTS,
        executor.EVALUATION_KEY: component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation),
    }


class Pusher(base_component.BaseComponent):
    """TFX's `Pusher`, by which a version appears whole or not at all, with the metrics it was judged by.

    Component `outputs` contains:
        pushed_model: `standard_artifacts.PushedModel`; its properties name the version and its folder.

    Args:
        model: of the Trainer.
        model_blessing: of the Evaluator.
        infra_blessing: of ServingGate.
        evaluation: of the Evaluator; its metrics go beside the pushed model.
        push_destination: folder of the versions.
    """

    SPEC_CLASS = PusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        *,
        model: types.BaseChannel,
        model_blessing: types.BaseChannel,
        infra_blessing: types.BaseChannel,
        evaluation: types.BaseChannel,
        push_destination: pusher_pb2.PushDestination,
    ):
        spec = PusherSpec(
            model=model,
            model_blessing=model_blessing,
            infra_blessing=infra_blessing,
            push_destination=push_destination,
            pushed_model=types.Channel(type=standard_artifacts.PushedModel),
            **{executor.EVALUATION_KEY: evaluation},
        )
        super().__init__(spec=spec)
