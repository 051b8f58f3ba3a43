"""The work of ItemContentGen."""

from __future__ import annotations

import json
from typing import Any

from absl import logging
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from tfx_pipeline.components.artifacts import optional_uri
from tfx_pipeline.config.content import Content
from tfx_pipeline.config.schema import Features
from tfx_pipeline.config.tables import ItemTable
from tfx_pipeline.data.content.build import build_content
from tfx_pipeline.data.content.encoded import with_encoded
from tfx_pipeline.data.content.table import write_content

SECTIONS_KEY = "sections"
SOURCE_FINGERPRINT_KEY = "source_fingerprint"
CODE_DIGEST_KEY = "code_digest"
CONTENT_KEY = "content"
ENCODED_KEY = "encoded"


class Executor(base_executor.BaseExecutor):
    """Reads catalogue and embeddings, writes one content table."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Builds the table and writes it.

        Args:
            input_dict: `encoded`, where the pipeline makes vectors: one artifact, read in place of their files.
            output_dict: `content`: one `ItemContent` artifact, whose directory appears complete or not at all.
            exec_properties: `sections`: JSON with `items`, `content` and, where there are any, `columns`, sections of
                the configuration with absolute paths; `source_fingerprint` and `code_digest` are read by nobody: they
                are there for the cache.

        Raises:
            DataError: files, columns, ids or embeddings that cannot be used, the item is named; or more codes than
                items with content.
        """
        sections = json.loads(exec_properties[SECTIONS_KEY])
        # Without item columns the key is not there, and the step's cache key stays what it was.
        columns = Features.model_validate({"item": sections.get("columns", {})}).item
        items, content = ItemTable.model_validate(sections["items"]), Content.model_validate(sections["content"])
        content = with_encoded(content, optional_uri(input_dict, ENCODED_KEY))
        table = build_content(items, content, columns)
        artifact = artifact_utils.get_single_instance(output_dict[CONTENT_KEY])
        write_content(table, artifact.uri)
        artifact.set_string_custom_property("version", table.version)
        for name, matrix in table.modalities.items():
            logging.info("content '%s' (%s): width %d, %s", name, table.version, matrix.width, matrix.coverage)
        for name, column in table.columns.items():
            logging.info("item column '%s': %s rows, %s", name, column.rows, column.coverage)
        if table.codes is not None:
            logging.info("codes of '%s', %d a level: %s", table.codes.of, table.codes.size, table.codes.report)
