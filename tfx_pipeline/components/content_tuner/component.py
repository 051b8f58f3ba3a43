"""What goes into and comes out of ContentTuner."""

from __future__ import annotations

from typing import ClassVar

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from tfx_pipeline.components.artifacts import EncodedContent, IngestionReport, ItemContent
from tfx_pipeline.components.content_tuner.executor import (
    CODE_DIGEST_KEY,
    CONTENT_KEY,
    ENCODED_KEY,
    EXAMPLES_KEY,
    REPORT_KEY,
    SECTION_KEY,
    SOURCE_FINGERPRINT_KEY,
    STATE_ROOT_KEY,
    TUNED_KEY,
    Executor,
)
from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.training.settings import state_root


class ContentTunerSpec(types.ComponentSpec):
    """A content table, examples and the report of ingestion; the section `content`."""

    PARAMETERS: ClassVar = {
        SECTION_KEY: ExecutionParameter(type=str),
        SOURCE_FINGERPRINT_KEY: ExecutionParameter(type=str),
        CODE_DIGEST_KEY: ExecutionParameter(type=str),
        STATE_ROOT_KEY: ExecutionParameter(type=str),
    }
    INPUTS: ClassVar = {
        CONTENT_KEY: ChannelParameter(type=ItemContent),
        EXAMPLES_KEY: ChannelParameter(type=standard_artifacts.Examples),
        REPORT_KEY: ChannelParameter(type=IngestionReport),
        ENCODED_KEY: ChannelParameter(type=EncodedContent, optional=True),
    }
    OUTPUTS: ClassVar = {TUNED_KEY: ChannelParameter(type=ItemContent)}


class ContentTuner(base_component.BaseComponent):
    """Fine-tunes content vectors on pairs of clicks of the train split.

    Component `outputs` contains:

    - `content`: channel of type `ItemContent`: the content table with tuned modalities, and `fine_tuning.json`, a
      `tfx_pipeline.training.content_tuning.record.FineTuningRecord`.
    """

    SPEC_CLASS = ContentTunerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        config: PipelineConfig,
        content: types.BaseChannel,
        examples: types.BaseChannel,
        report: types.BaseChannel,
        source_fingerprint: str,
        code_digest: str,
        encoded: types.BaseChannel | None = None,
    ):
        """Constructs the component; reads nothing.

        Args:
            config: of it, `content` and `output` are used; under `output` lies the state of an interrupted training.
            content: of ItemContentGen.
            examples: raw, of BehaviorLogExampleGen.
            report: of BehaviorLogExampleGen.
            source_fingerprint: digest of the embeddings' files, which are read again at their full width.
            code_digest: digest of the code; changed code runs again.
            encoded: of ContentEncoder, whose vectors this reads; None: there is no such step.
        """
        spec = ContentTunerSpec(
            **({} if encoded is None else {ENCODED_KEY: encoded}),
            **{
                CONTENT_KEY: content,
                EXAMPLES_KEY: examples,
                REPORT_KEY: report,
                SECTION_KEY: config.content.model_dump_json(),
                SOURCE_FINGERPRINT_KEY: source_fingerprint,
                CODE_DIGEST_KEY: code_digest,
                STATE_ROOT_KEY: state_root(config),
                TUNED_KEY: types.Channel(type=ItemContent),
            },
        )
        super().__init__(spec=spec)
