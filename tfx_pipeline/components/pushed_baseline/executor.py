"""Executor of `PushedBaseline`."""

from __future__ import annotations

from typing import Any

from absl import logging
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils, proto_utils

from tfx_pipeline.components.comparable_models import reads_the_same_examples
from tfx_pipeline.files.addresses import join
from tfx_pipeline.files.reading import exists, list_names
from tfx_pipeline.files.writing import remove, write_text

CANDIDATE_KEY = "candidate"
PUSH_DESTINATION_KEY = "push_destination"
CODE_DIGEST_KEY = "code_digest"
MODEL_KEY = "model"
ABSENT = "absent"
"""Property, 1, of a model that is not there, so that whoever is given it does without."""


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
            exec_properties: `push_destination`, JSON of a filesystem destination; `code_digest` is read by nobody: it
                is there for the cache.
        """
        candidate = artifact_utils.get_single_uri(input_dict[CANDIDATE_KEY])
        baseline = artifact_utils.get_single_instance(output_dict[MODEL_KEY])
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(exec_properties[PUSH_DESTINATION_KEY], destination)
        base = destination.filesystem.base_directory
        target = path_utils.serving_model_dir(baseline.uri)
        for version in sorted((name for name in list_names(base) if name.isdigit()), key=int, reverse=True):
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
