"""Executor of `RankingTrainer`."""

from __future__ import annotations

from typing import Any

from tfx import types
from tfx.components.trainer import executor as trainer_executor
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import json_utils

CONTENT_KEY = "content"
REQUESTS_KEY = "requests"
REPORT_KEY = "report"


class Executor(trainer_executor.GenericExecutor):
    """Adds the URIs of the further inputs to `custom_config`, then trains as TFX does."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs `run_fn`.

        Args:
            input_dict: the Trainer's inputs, `content`, `requests` and `report`.
            output_dict: `model` and `model_run`.
            exec_properties: the Trainer's; `custom_config` is a JSON object.
        """
        custom_config = json_utils.loads(exec_properties[standard_component_specs.CUSTOM_CONFIG_KEY])
        custom_config["content_uri"] = artifact_utils.get_single_uri(input_dict[CONTENT_KEY])
        custom_config["requests_uri"] = artifact_utils.get_single_uri(input_dict[REQUESTS_KEY])
        custom_config["report_uri"] = artifact_utils.get_single_uri(input_dict[REPORT_KEY])
        super().Do(
            input_dict,
            output_dict,
            {**exec_properties, standard_component_specs.CUSTOM_CONFIG_KEY: json_utils.dumps(custom_config)},
        )
