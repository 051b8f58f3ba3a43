"""Executor of `RankingTrainer`."""

from __future__ import annotations

from typing import Any

from tfx import types
from tfx.components.trainer import executor as trainer_executor

from tfx_pipeline.training.input_uris import CONTENT, FIRST_RUN, REPORT, REQUESTS, RETRIEVAL_RUN, with_uris

FURTHER_INPUTS = (CONTENT, REQUESTS, REPORT)
REFIT_INPUTS = (FIRST_RUN,)
RETRIEVAL_INPUTS = (RETRIEVAL_RUN,)


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
            input_dict: the Trainer's inputs, `content`, `requests` and `report`; of a refit also `first_run`; with a
                retrieval stage also `retrieval_run`.
            output_dict: `model` and `model_run`.
            exec_properties: the Trainer's; `custom_config` is a JSON object.
        """
        further = (*FURTHER_INPUTS, *(key for key in (*REFIT_INPUTS, *RETRIEVAL_INPUTS) if input_dict.get(key)))
        super().Do(input_dict, output_dict, with_uris(exec_properties, input_dict, further))
