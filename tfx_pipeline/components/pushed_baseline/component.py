"""What goes into and comes out of `PushedBaseline`."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from tfx_pipeline.components.pushed_baseline import executor


class PushedBaselineSpec(component_spec.ComponentSpec):
    """The candidate in, the model to compare it with out."""

    PARAMETERS = {
        executor.VERSIONS_KEY: component_spec.ExecutionParameter(type=str),
        executor.CODE_DIGEST_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {executor.CANDIDATE_KEY: component_spec.ChannelParameter(type=standard_artifacts.Model)}
    OUTPUTS = {executor.MODEL_KEY: component_spec.ChannelParameter(type=standard_artifacts.Model)}


class PushedBaseline(base_component.BaseComponent):
    """Takes the newest pushed version for the model that the candidate is compared with.

    It does the work of `LatestOtherBlessedModel` where no metadata store can be asked, as on Kubeflow. What was pushed
    was blessed.

    Component `outputs` contains:
        model: `standard_artifacts.Model`, a copy of the version; where there is none that the candidate can be
            compared with, an empty folder and the property `absent`.

    Args:
        candidate: of the Trainer.
        versions: folder of the pushed versions.
        code_digest: of the code that decides which.
    """

    SPEC_CLASS = PushedBaselineSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, *, candidate: types.BaseChannel, versions: str, code_digest: str):
        spec = PushedBaselineSpec(
            **{
                executor.CANDIDATE_KEY: candidate,
                executor.VERSIONS_KEY: versions,
                executor.CODE_DIGEST_KEY: code_digest,
                executor.MODEL_KEY: types.Channel(type=standard_artifacts.Model),
            }
        )
        super().__init__(spec=spec)
