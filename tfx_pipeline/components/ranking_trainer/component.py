"""What goes into and comes out of `RankingTrainer`."""

from __future__ import annotations

from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, base_node, executor_spec
from tfx.types import standard_artifacts, standard_component_specs

from tfx_pipeline.components import training_inputs
from tfx_pipeline.components.ranking_trainer import executor


class RankingTrainerSpec(standard_component_specs.TrainerSpec):
    """The Trainer's spec and more inputs."""

    INPUTS = {
        **standard_component_specs.TrainerSpec.INPUTS,
        **training_inputs.further_inputs(executor.FURTHER_INPUTS),
        **training_inputs.further_inputs((*executor.REFIT_INPUTS, *executor.RETRIEVAL_INPUTS), optional=True),
    }


class RankingTrainer(base_component.BaseComponent):
    """TFX's Trainer, which takes only examples, a transform graph and a schema, given three more artifacts.

    Their URIs reach `run_fn` in `custom_config` as `content_uri`, `requests_uri` and `report_uri`; as inputs of the
    component they take part in lineage and caching.

    Component `outputs` contains:
        model: `standard_artifacts.Model`: the exported SavedModel with its contract, golden and warm-up requests
            and metadata.
        model_run: `standard_artifacts.ModelRun`: `model.keras`, `training.json`, TensorBoard logs.

    Args:
        examples: transformed examples.
        transform_graph: of Transform.
        content: of ItemContentGen.
        requests: raw examples, from which golden and warm-up requests are taken.
        report: of BehaviorLogExampleGen, for the model's metadata.
        hyperparameters: of RankingTuner, whose values replace the configuration's; None: those of the configuration.
        first: the step whose training a refit repeats: its `model` and `model_run` are inputs. None: this is no refit.
        retrieval: the step whose two towers are exported with the model: its `model_run` is an input. None: a request
            brings its candidates.
        run_fn: dotted path of the training function.
        custom_config: JSON-serialisable values for `run_fn`.
    """

    SPEC_CLASS = RankingTrainerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        *,
        examples: types.BaseChannel,
        transform_graph: types.BaseChannel,
        content: types.BaseChannel,
        requests: types.BaseChannel,
        report: types.BaseChannel,
        hyperparameters: types.BaseChannel | None = None,
        first: base_node.BaseNode | None = None,
        retrieval: base_node.BaseNode | None = None,
        run_fn: str,
        custom_config: dict[str, Any],
    ):
        further: dict[str, types.BaseChannel] = {}
        if first is not None:
            further = {
                standard_component_specs.BASE_MODEL_KEY: first.outputs[standard_component_specs.MODEL_KEY],
                **dict.fromkeys(executor.REFIT_INPUTS, first.outputs[standard_component_specs.MODEL_RUN_KEY]),
            }
        if retrieval is not None:
            outputs = retrieval.outputs[standard_component_specs.MODEL_RUN_KEY]
            further |= dict.fromkeys(executor.RETRIEVAL_INPUTS, outputs)
        spec = RankingTrainerSpec(
            examples=examples,
            transform_graph=transform_graph,
            hyperparameters=hyperparameters,
            run_fn=run_fn,
            model=types.Channel(type=standard_artifacts.Model),
            model_run=types.Channel(type=standard_artifacts.ModelRun),
            content=content,
            requests=requests,
            report=report,
            **further,
            **training_inputs.parameters(custom_config),
        )
        super().__init__(spec=spec)
