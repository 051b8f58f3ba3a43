"""Executor of `ServingGate`."""

from __future__ import annotations

import json
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import path_utils

from serving.export.servable_check import check_servable
from tfx_pipeline.files import artifact_files
from tfx_pipeline.files.addresses import join
from tfx_pipeline.files.writing import write_text

MODEL_KEY = "model"
BLESSING_KEY = "blessing"
MAX_DIFFERENCE_KEY = "max_score_difference"
MIN_RECALL_KEY = "min_recall"
CODE_DIGEST_KEY = "code_digest"


class Executor(base_executor.BaseExecutor):
    """Runs `serving.export.servable_check` and writes what it found."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Blesses the model or says why not.

        Args:
            input_dict: `model`.
            output_dict: `blessing`; its property `blessed` is 1 or 0, as Pusher reads it.
            exec_properties: `max_score_difference`; `min_recall` where the model has an approximate index.
        """
        model = artifact_utils.get_single_instance(input_dict[MODEL_KEY])
        blessing = artifact_utils.get_single_instance(output_dict[BLESSING_KEY])
        directory = path_utils.serving_model_path(model.uri)
        problems, figures = check_servable(
            directory, exec_properties[MAX_DIFFERENCE_KEY], min_recall=exec_properties.get(MIN_RECALL_KEY)
        )
        report = {"blessed": not problems, "problems": problems, **figures}
        write_text(join(blessing.uri, artifact_files.GATE_REPORT), json.dumps(report, indent=1))
        blessing.set_int_custom_property("blessed", 0 if problems else 1)
