"""What goes into and comes out of `RankingTuner`."""

from __future__ import annotations

from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts, standard_component_specs

from tfx_pipeline.components import training_inputs
from tfx_pipeline.components.ranking_tuner import executor


class RankingTunerSpec(standard_component_specs.TunerSpec):
    """The Tuner's spec and two more inputs."""

    INPUTS = {
        **standard_component_specs.TunerSpec.INPUTS,
        **training_inputs.further_inputs(executor.FURTHER_INPUTS),
    }


class RankingTuner(base_component.BaseComponent):
    """TFX's Tuner, which takes only examples, a transform graph and a schema, given two more artifacts.

    Their URIs reach `tuner_fn` in `custom_config` as `content_uri` and `requests_uri`.

    Component `outputs` contains:
        best_hyperparameters: `standard_artifacts.HyperParameters`: `values` by their place in the configuration, for
            `RankingTrainer`; none when nothing is better than the configuration as it is.
        tuner_results: `standard_artifacts.TunerResults`: TFX's `tuner_results.json`, and `tune.json` as of `dmf tune`.

    Args:
        examples: transformed examples.
        transform_graph: of Transform.
        content: of ItemContentGen.
        requests: raw examples; trials are scored on those of the eval split.
        tuner_fn: dotted path of the function that makes the search.
        custom_config: JSON-serialisable values for `tuner_fn`.
    """

    SPEC_CLASS = RankingTunerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        *,
        examples: types.BaseChannel,
        transform_graph: types.BaseChannel,
        content: types.BaseChannel,
        requests: types.BaseChannel,
        tuner_fn: str,
        custom_config: dict[str, Any],
    ):
        spec = RankingTunerSpec(
            examples=examples,
            transform_graph=transform_graph,
            tuner_fn=tuner_fn,
            best_hyperparameters=types.Channel(type=standard_artifacts.HyperParameters),
            tuner_results=types.Channel(type=standard_artifacts.TunerResults),
            content=content,
            requests=requests,
            **training_inputs.parameters(custom_config),
        )
        super().__init__(spec=spec)
