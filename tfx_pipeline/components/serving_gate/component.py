"""What goes into and comes out of `ServingGate`."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from tfx_pipeline.components.serving_gate import executor


class ServingGateSpec(component_spec.ComponentSpec):
    """Model in, infra blessing out."""

    PARAMETERS = {
        executor.MAX_DIFFERENCE_KEY: component_spec.ExecutionParameter(type=float),
        executor.MIN_RECALL_KEY: component_spec.ExecutionParameter(type=float, optional=True),
        executor.CODE_DIGEST_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {executor.MODEL_KEY: component_spec.ChannelParameter(type=standard_artifacts.Model)}
    OUTPUTS = {executor.BLESSING_KEY: component_spec.ChannelParameter(type=standard_artifacts.InfraBlessing)}


class ServingGate(base_component.BaseComponent):
    """Loads the model as TensorFlow Serving does and blesses it only when everything in `servable_check` holds.

    Component `outputs` contains:
        blessing: `standard_artifacts.InfraBlessing`, which Pusher takes as `infra_blessing`; `report.json` in it
            has the problems found and the largest differences of a score.

    Args:
        model: of the Trainer.
        max_score_difference: allowed between Keras, the SavedModel, and the two-step path.
        min_recall: that the approximate index beside the model must reach; None: there is none.
        code_digest: of the code that exports and checks; a change runs the gate again.
    """

    SPEC_CLASS = ServingGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        *,
        model: types.BaseChannel,
        max_score_difference: float,
        code_digest: str,
        min_recall: float | None = None,
    ):
        spec = ServingGateSpec(
            **{
                executor.MODEL_KEY: model,
                executor.MAX_DIFFERENCE_KEY: max_score_difference,
                **({} if min_recall is None else {executor.MIN_RECALL_KEY: min_recall}),
                executor.CODE_DIGEST_KEY: code_digest,
                executor.BLESSING_KEY: types.Channel(type=standard_artifacts.InfraBlessing),
            }
        )
        super().__init__(spec=spec)
