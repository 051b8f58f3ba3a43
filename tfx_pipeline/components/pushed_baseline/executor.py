"""Executor of `PushedBaseline`."""

from __future__ import annotations

from typing import Any

from absl import logging
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from tfx_pipeline.components.comparable_models import reads_the_same_examples
from tfx_pipeline.files.addresses import join
from tfx_pipeline.files.artifact_files import ABSENT
from tfx_pipeline.files.reading import exists, list_names
from tfx_pipeline.files.versions import version_names
from tfx_pipeline.files.writing import remove, write_text

CANDIDATE_KEY = "candidate"
VERSIONS_KEY = "versions"
CODE_DIGEST_KEY = "code_digest"
MODEL_KEY = "model"


class Executor(base_executor.BaseExecutor):
    """Copies the newest pushed version that reads the examples that the candidate reads."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Finds and copies.

        Args:
            input_dict: `candidate`: one model.
            output_dict: `model`: one model.
            exec_properties: `versions`, the folder of the pushed versions; `code_digest` is read by nobody: it is there
                for the cache.
        """
        candidate = artifact_utils.get_single_uri(input_dict[CANDIDATE_KEY])
        baseline = artifact_utils.get_single_instance(output_dict[MODEL_KEY])
        base = exec_properties[VERSIONS_KEY]
        target = path_utils.serving_model_dir(baseline.uri)
        for version in reversed(version_names(list_names(base))):
            pushed = join(base, version)
            if not exists(join(pushed, "saved_model.pb")):
                continue
            io_utils.copy_dir(pushed, target)
            if reads_the_same_examples(baseline.uri, candidate):
                baseline.set_string_custom_property("pushed_version", version)
                logging.info("the candidate is compared with version %s of %s", version, base)
                return
            remove(target)
        # An object store keeps no empty folder.
        write_text(join(baseline.uri, ABSENT), "")
        baseline.set_int_custom_property(ABSENT, 1)
        logging.info("%s holds no version that the candidate could be compared with", base)
