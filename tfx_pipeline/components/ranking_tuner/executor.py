"""Executor of `RankingTuner`."""

from __future__ import annotations

from typing import Any

from tfx import types
from tfx.components.tuner import executor as tuner_executor
from tfx.types import artifact_utils, standard_component_specs

from tfx_pipeline.training.input_uris import CONTENT, REQUESTS, with_uris

FURTHER_INPUTS = (CONTENT, REQUESTS)


class Executor(tuner_executor.Executor):
    """Searches as TFX does, and leaves the project's own report of the search beside TFX's."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs the search that `tuner_fn` makes.

        Args:
            input_dict: the Tuner's inputs, `content` and `requests`.
            output_dict: `best_hyperparameters` and `tuner_results`.
            exec_properties: the Tuner's; `custom_config` is a JSON object.
        """
        from tfx_pipeline.training.search.report import search_report, write_report

        exec_properties = with_uris(exec_properties, input_dict, FURTHER_INPUTS)
        search = tuner_executor.search(input_dict, exec_properties, self._get_tmp_dir(), print_tuning_summary=False)
        tuner_executor.write_best_hyperparameters(search, output_dict)
        results = artifact_utils.get_single_uri(output_dict[standard_component_specs.TUNER_RESULTS_KEY])
        write_report(search_report(search), results)
