"""What goes into and comes out of ItemContentGen."""

from __future__ import annotations

import json
from typing import ClassVar

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from tfx_pipeline.components.artifacts import EncodedContent, ItemContent
from tfx_pipeline.components.item_content_gen.executor import (
    CODE_DIGEST_KEY,
    CONTENT_KEY,
    ENCODED_KEY,
    SECTIONS_KEY,
    SOURCE_FINGERPRINT_KEY,
    Executor,
)
from tfx_pipeline.config.schema import PipelineConfig


class ItemContentGenSpec(types.ComponentSpec):
    """What was encoded before, if anything was; sections of the configuration, and what tells of changes."""

    PARAMETERS: ClassVar = {
        SECTIONS_KEY: ExecutionParameter(type=str),
        SOURCE_FINGERPRINT_KEY: ExecutionParameter(type=str),
        CODE_DIGEST_KEY: ExecutionParameter(type=str),
    }
    INPUTS: ClassVar = {ENCODED_KEY: ChannelParameter(type=EncodedContent, optional=True)}
    OUTPUTS: ClassVar = {CONTENT_KEY: ChannelParameter(type=ItemContent)}


class ItemContentGen(base_component.BaseComponent):
    """Builds the content table: per modality a matrix with a row for every item of the catalogue.

    Component `outputs` contains:

    - `content`: channel of type `ItemContent`, a directory that `tfx_pipeline.data.content.read_content` reads.
    """

    SPEC_CLASS = ItemContentGenSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        config: PipelineConfig,
        source_fingerprint: str,
        code_digest: str,
        encoded: types.BaseChannel | None = None,
    ):
        """Constructs the component; reads nothing.

        Args:
            config: of it, only `data.items`, `content` and `features.item` are used, so that no other
                change makes the table anew.
            source_fingerprint: digest of the catalogue's and the embeddings' files; changed files are read again.
            code_digest: digest of the code; changed code runs again.
            encoded: of ContentEncoder, which makes files that this reads; None: nobody does.
        """
        sections = {
            "items": config.data.items.model_dump(mode="json"),
            "content": config.content.model_dump(mode="json"),
        }
        columns = config.features.model_dump(mode="json").get("item")
        if columns:
            sections["columns"] = columns
        spec = ItemContentGenSpec(
            **({} if encoded is None else {ENCODED_KEY: encoded}),
            **{
                SECTIONS_KEY: json.dumps(sections, sort_keys=True),
                SOURCE_FINGERPRINT_KEY: source_fingerprint,
                CODE_DIGEST_KEY: code_digest,
                CONTENT_KEY: types.Channel(type=ItemContent),
            },
        )
        super().__init__(spec=spec)
