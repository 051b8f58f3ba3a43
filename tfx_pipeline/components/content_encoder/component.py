"""What goes into and comes out of ContentEncoder."""

from __future__ import annotations

from typing import Any, ClassVar

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from tfx_pipeline.components.artifacts import EncodedContent
from tfx_pipeline.components.content_encoder.executor import (
    CODE_DIGEST_KEY,
    ENCODED_KEY,
    SECTIONS_KEY,
    SOURCE_FINGERPRINT_KEY,
    Executor,
)
from tfx_pipeline.config.encoders import in_pipeline
from tfx_pipeline.config.encoding import EncodingConfig
from tfx_pipeline.config.schema import PipelineConfig


class ContentEncoderSpec(types.ComponentSpec):
    """No inputs; the sections of the configuration it needs, and what tells that files or code have changed."""

    PARAMETERS: ClassVar = {
        SECTIONS_KEY: ExecutionParameter(type=str),
        SOURCE_FINGERPRINT_KEY: ExecutionParameter(type=str),
        CODE_DIGEST_KEY: ExecutionParameter(type=str),
    }
    INPUTS: ClassVar[dict[str, Any]] = {}
    OUTPUTS: ClassVar = {ENCODED_KEY: ChannelParameter(type=EncodedContent)}


class ContentEncoder(base_component.BaseComponent):
    """Runs the encoders that are `in_pipeline`, on what is new or changed in the catalogue, as `dmf encode` does.

    What it makes lies where `content.modalities.NAME.path` says, to be taken over by the next run, and in its output.

    Component `outputs` contains:

    - `encoded`: channel of type `EncodedContent`: vectors, and what was done.
    """

    SPEC_CLASS = ContentEncoderSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, config: PipelineConfig, source_fingerprint: str, code_digest: str):
        """Constructs the component; reads nothing.

        Args:
            config: of it, `data.items`, `encoders` and the files of their modalities are used.
            source_fingerprint: digest of the catalogue, of models, tokenizers and pictures; changed files run again.
            code_digest: digest of the code; changed code runs again.
        """
        sections = EncodingConfig.of(config, in_pipeline(config.encoders))
        spec = ContentEncoderSpec(
            **{
                SECTIONS_KEY: sections.model_dump_json(),
                SOURCE_FINGERPRINT_KEY: source_fingerprint,
                CODE_DIGEST_KEY: code_digest,
                ENCODED_KEY: types.Channel(type=EncodedContent),
            }
        )
        super().__init__(spec=spec)
