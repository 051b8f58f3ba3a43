"""The component's wiring: what goes in, what comes out, what its cache depends on."""

from __future__ import annotations

from typing import Any

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import component_spec, standard_artifacts, standard_component_specs

from tfx_pipeline.components.artifacts import IngestionReport
from tfx_pipeline.components.behavior_log_example_gen import executor
from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.config.schema import PipelineConfig


class BehaviorLogExampleGenSpec(component_spec.ComponentSpec):
    """Parameters and outputs of `BehaviorLogExampleGen`."""

    PARAMETERS = {
        executor.CONFIG_KEY: component_spec.ExecutionParameter(type=str),
        executor.SOURCE_FINGERPRINT_KEY: component_spec.ExecutionParameter(type=str),
        executor.CODE_DIGEST_KEY: component_spec.ExecutionParameter(type=str),
        executor.FAILURE_DIR_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS: dict[str, Any] = {}
    OUTPUTS = {
        standard_component_specs.EXAMPLES_KEY: component_spec.ChannelParameter(type=standard_artifacts.Examples),
        executor.REPORT_KEY: component_spec.ChannelParameter(type=IngestionReport),
    }


class BehaviorLogExampleGen(base_beam_component.BaseBeamComponent):
    """Reads behaviour logs, forms requests with histories and writes them as `tf.Example`s in splits by time.

    TFX runs it again when one of its parameters changed: the part of the configuration that decides what is written
    (`IngestionConfig`), the fingerprint of the input files, or the code. Where and how Beam runs comes from the
    pipeline's `beam_pipeline_args`. Building the component reads and writes nothing.

    Component `outputs` contains:
     - `examples`: `standard_artifacts.Examples` with the splits train, eval and test.
     - `report`: `IngestionReport` with `report.json` and `quarantine.jsonl`.

    Args:
        config: the pipeline's configuration.
        source_fingerprint: `tfx_pipeline.data.logs.files.fingerprint` of the log, the catalogue and the user table.
        code_digest: digest of the code that ingestion runs.
    """

    SPEC_CLASS = BehaviorLogExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(self, config: PipelineConfig, source_fingerprint: str, code_digest: str) -> None:
        spec = BehaviorLogExampleGenSpec(
            **{
                executor.CONFIG_KEY: IngestionConfig.of(config).to_json(),
                executor.SOURCE_FINGERPRINT_KEY: source_fingerprint,
                executor.CODE_DIGEST_KEY: code_digest,
                executor.FAILURE_DIR_KEY: str(config.output / "ingestion_failure"),
                standard_component_specs.EXAMPLES_KEY: types.Channel(type=standard_artifacts.Examples),
                executor.REPORT_KEY: types.Channel(type=IngestionReport),
            }
        )
        super().__init__(spec=spec)
