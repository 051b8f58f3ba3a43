"""The work of ContentEncoder."""

from __future__ import annotations

import time
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from tfx_pipeline.config.encoders import in_order
from tfx_pipeline.config.encoding import EncodingConfig
from tfx_pipeline.console import console
from tfx_pipeline.files import artifact_files
from tfx_pipeline.files.addresses import join
from tfx_pipeline.files.writing import write_copy, write_json
from tfx_pipeline.training.content_encoding import Say, encode_modality, told_of

SECTIONS_KEY = "sections"
SOURCE_FINGERPRINT_KEY = "source_fingerprint"
CODE_DIGEST_KEY = "code_digest"
ENCODED_KEY = "encoded"
# Between two lines about the progress.
_SECONDS = 30.0


class Executor(base_executor.BaseExecutor):
    """Encodes what is new or changed, keeps the vectors, and writes down what was done."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs each encoder; one that is killed goes on where it was.

        Args:
            input_dict: empty.
            output_dict: `encoded`: one `EncodedContent` artifact, which keeps the vectors whatever becomes of the file
                that a modality names.
            exec_properties: `sections`: JSON, an `EncodingConfig` with absolute paths; `source_fingerprint` and
                `code_digest` are read by nobody: they are there for the cache.

        Raises:
            ConfigError: an encoder's files or libraries are not there or do not fit.
            DataError: the catalogue, a file that is there, or what is to be encoded cannot be used.
        """
        config = EncodingConfig.model_validate_json(exec_properties[SECTIONS_KEY])
        uri = artifact_utils.get_single_uri(output_dict[ENCODED_KEY])
        summaries = []
        for name in in_order(config.encoders, config.encoders):
            summaries.append(encode_modality(config, name, _now_and_then()))
            for line in told_of(summaries[-1], config.encoders[name]):
                console().print(line, highlight=False, soft_wrap=True)
            write_copy(join(uri, f"{name}{artifact_files.ENCODED}"), config.modalities[name].path)
        write_json(join(uri, artifact_files.ENCODING), {"encoders": [summary.to_json() for summary in summaries]})


def _now_and_then() -> Say:
    """Says what it is told, at most every half minute."""
    last = time.monotonic()

    def say(text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= _SECONDS:
            last = time.monotonic()
            console().print(text, highlight=False, soft_wrap=True)

    return say
