"""The component's work: runs the Beam steps, writes the report, refuses what must not be used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from tfx import types
from tfx.components.example_gen import base_example_gen_executor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils

from tfx_pipeline.components.behavior_log_example_gen.report import build_report, check_run, to_text
from tfx_pipeline.components.behavior_log_example_gen.steps import LogsToExamples
from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.config.schema import SPLITS
from tfx_pipeline.config.tables import Data, Table
from tfx_pipeline.data.logs.checks import check_sources
from tfx_pipeline.data.logs.quarantine import examples
from tfx_pipeline.data.logs.tally import Tally
from tfx_pipeline.errors import PipelineError
from tfx_pipeline.files import artifact_files
from tfx_pipeline.files.addresses import join
from tfx_pipeline.files.reading import read_bytes, read_lines, read_text
from tfx_pipeline.files.writing import remove, write_bytes, write_text

CONFIG_KEY = "config"
SOURCE_FINGERPRINT_KEY = "source_fingerprint"
CODE_DIGEST_KEY = "code_digest"
FAILURE_DIR_KEY = "failure_dir"
REPORT_KEY = "report"
_SPLIT_URIS_KEY = "split_uris"
_TALLY_KEY = "tally_path"
_QUARANTINE_KEY = "quarantine_path"


class Executor(base_example_gen_executor.BaseExampleGenExecutor):
    """Behaviour logs -> `tf.Example`s of requests, and a report about them."""

    def GetInputSourceToExamplePTransform(self) -> type[beam.PTransform]:
        """The transform from a pipeline to written shards."""
        return LogsToExamples

    def GenerateExamplesByBeam(
        self, pipeline: beam.Pipeline, exec_properties: dict[str, Any]
    ) -> dict[str, beam.PCollection]:
        """Builds the whole graph, writing included, so that nothing is left for the base class to split or write."""
        logs_to_examples = self.GetInputSourceToExamplePTransform()
        _ = pipeline | "LogsToExamples" >> logs_to_examples(
            IngestionConfig.model_validate_json(exec_properties[CONFIG_KEY]),
            exec_properties[_SPLIT_URIS_KEY],
            exec_properties[_TALLY_KEY],
            exec_properties[_QUARANTINE_KEY],
        )
        return {}

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Reads, splits, audits and writes.

        Args:
            input_dict: empty.
            output_dict:
              - examples: one `Examples` artifact, gets the splits train, eval and test.
              - report: one `IngestionReport` artifact, gets `report.json` and `quarantine.jsonl`.
            exec_properties:
              - config: JSON of `IngestionConfig`.
              - failure_dir: where report and quarantine go when the run is refused.
              - source_fingerprint, code_digest: not read; they tell TFX when a cached result is out of date.

        Raises:
            DataError: the sources cannot be used, too many rows are bad, or a split cannot be used.
            LeakageError: the examples break a rule of time.
        """
        config = IngestionConfig.model_validate_json(exec_properties[CONFIG_KEY])
        check_sources(config)
        report_dir = artifact_utils.get_single_uri(output_dict[REPORT_KEY])
        tally_path = join(report_dir, "tally.json")
        quarantine_path = join(report_dir, artifact_files.QUARANTINE)
        written = output_dict[standard_component_specs.EXAMPLES_KEY]
        artifact_utils.get_single_instance(written).split_names = artifact_utils.encode_split_names(list(SPLITS))
        split_uris = {name: artifact_utils.get_split_uri(written, name) for name in SPLITS}
        splits = [example_gen_pb2.Input.Split(name=name, pattern=name) for name in SPLITS]
        super().Do(
            input_dict,
            output_dict,
            {
                **exec_properties,
                standard_component_specs.INPUT_CONFIG_KEY: proto_utils.proto_to_json(
                    example_gen_pb2.Input(splits=splits)
                ),
                standard_component_specs.OUTPUT_CONFIG_KEY: proto_utils.proto_to_json(example_gen_pb2.Output()),
                standard_component_specs.OUTPUT_DATA_FORMAT_KEY: example_gen_pb2.FORMAT_TF_EXAMPLE,
                standard_component_specs.OUTPUT_FILE_FORMAT_KEY: example_gen_pb2.FORMAT_TFRECORDS_GZIP,
                _SPLIT_URIS_KEY: split_uris,
                _TALLY_KEY: tally_path,
                _QUARANTINE_KEY: quarantine_path,
            },
        )
        tally = Tally.from_json(read_text(tally_path))
        remove(tally_path)
        report = build_report(tally, dict(_tables(config.data)), config.data.interactions, config.labels)
        write_text(join(report_dir, artifact_files.INGESTION_REPORT), to_text(report))
        bad = examples(read_lines(quarantine_path), config.data.interactions.columns, config.label_columns)
        try:
            check_run(config, tally, report, bad)
        except PipelineError as error:
            failure_dir = exec_properties[FAILURE_DIR_KEY]
            for name in (artifact_files.INGESTION_REPORT, artifact_files.QUARANTINE):
                write_bytes(join(failure_dir, name), read_bytes(join(report_dir, name)))
            raise type(error)(f"{error}\nReport and quarantined rows: {failure_dir}") from None


def _tables(data: Data) -> Iterator[tuple[str, Table]]:
    yield "interactions", data.interactions
    yield "items", data.items
    if data.users is not None:
        yield "users", data.users
