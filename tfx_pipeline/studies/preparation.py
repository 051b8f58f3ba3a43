"""The data of a study: the outputs of the pipeline's data steps, which `dmf run` uses too."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tfx.orchestration import metadata

from tfx_pipeline.config.encoders import in_pipeline
from tfx_pipeline.config.encoding import EncodingConfig
from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.config.schema import SPLITS, PipelineConfig
from tfx_pipeline.data.content.table import ItemContentTable, read_content
from tfx_pipeline.data.ingestion_report import IngestionReport
from tfx_pipeline.files import artifact_files
from tfx_pipeline.files.addresses import join
from tfx_pipeline.files.reading import read_json
from tfx_pipeline.pipeline import CONTENT_GEN, CONTENT_TUNER, content_step, metadata_path
from tfx_pipeline.runners.cache_keys import code_digests, fingerprints
from tfx_pipeline.runners.history import RunHistory
from tfx_pipeline.runners.local import check_inputs, run_pipeline
from tfx_pipeline.training.content_tuning.record import FineTuningRecord
from tfx_pipeline.training.trial_data import TrialData, read_trial_data
from tfx_pipeline.transform.dataset import split_files

_LAST_DATA_STEP = "Transform"
_INGESTION = "BehaviorLogExampleGen"
_CODE = ("ingest", "content", "transform", "trial")


def prepare(config: PipelineConfig, *, code: Sequence[str] = ()) -> TrialData:
    """Runs the pipeline's data steps, or takes them from the cache that `dmf run` uses too.

    To be called while the output folder is held, see `tfx_pipeline.files.output_folder.hold_output`.

    Args:
        config: the validated configuration.
        code: what `tfx_pipeline.runners.cache_keys` has digests of and the caller's results depend on, beside the
            code that trains and scores.

    Raises:
        PipelineError: the inputs or a step refuse.
    """
    outputs = _outputs(config, _LAST_DATA_STEP)

    def only(node: str, key: str) -> str:
        uri: str = outputs[node][key][0].uri
        return uri

    return read_trial_data(
        examples=only(_INGESTION, "examples"),
        transformed=only("Transform", "transformed_examples"),
        transform_graph=only("Transform", "transform_graph"),
        content=only(content_step(outputs), "content"),
        features=config.features,
        max_history=config.history.max_length,
        evaluation=config.evaluation,
        digest=data_digest(config, code),
        report=only(_INGESTION, "report"),
        objectives=config.objectives,
        age_buckets=config.history.age_buckets,
        sequences=config.history.longest_sequences,
    )


class ContentData(NamedTuple):
    """What is needed to judge content, without a ranker.

    Attributes:
        examples: files of raw examples, by split.
        table: content of the catalogue, tuned where the configuration says so.
        report: of ingestion.
        fine_tuning: what became of it; None where there is none.
    """

    examples: Mapping[str, list[str]]
    table: ItemContentTable
    report: IngestionReport
    fine_tuning: FineTuningRecord | None


def prepare_content(config: PipelineConfig) -> ContentData:
    """As `prepare`, but of the data steps only those that examples and content take.

    Args:
        config: the validated configuration.

    Raises:
        PipelineError: the inputs or a step refuse.
    """
    last = CONTENT_GEN if config.content.fine_tuning is None else CONTENT_TUNER
    outputs = _outputs(config, last)
    examples, report = outputs[_INGESTION]["examples"][0].uri, outputs[_INGESTION]["report"][0].uri
    content = outputs[last]["content"][0].uri
    record = None
    if config.content.fine_tuning is not None:
        record = FineTuningRecord.from_json(read_json(join(content, artifact_files.FINE_TUNING)))
    return ContentData(
        examples={split: split_files(examples, split) for split in SPLITS},
        table=read_content(content),
        report=IngestionReport.from_json(read_json(join(report, artifact_files.INGESTION_REPORT))),
        fine_tuning=record,
    )


def _outputs(config: PipelineConfig, until: str) -> dict[str, dict[str, list[Any]]]:
    """Output artifacts by step and channel, once the steps have run or were found in the cache."""
    check_inputs(config)
    steps = run_pipeline(config, until=until)
    with metadata.Metadata(metadata.sqlite_metadata_connection_config(str(metadata_path(config)))) as store:
        history = RunHistory(store.store, config.name)
        return {step.node: history.outputs(step.execution_id) for step in steps}


def data_digest(config: PipelineConfig, code: Sequence[str] = ()) -> str:
    """Equal for equal inputs, sections that shape examples, and code: wherever the artifacts lie.

    Args:
        config: the validated configuration.
        code: see `prepare`.
    """
    prints = fingerprints(config)
    schema = config.data.schema_file
    parts = [
        prints.logs,
        prints.content,
        # Each training's key knows its own model's code.
        *code_digests((*_CODE, *(["fine_tune"] if config.content.fine_tuning else []), *code)).values(),
        IngestionConfig.of(config).to_json(),
        config.features.model_dump_json(),
        config.content.model_dump_json(),
        hashlib.sha256(schema.read_bytes()).hexdigest() if schema else "",
    ]
    if made := in_pipeline(config.encoders):
        parts += [
            prints.encoding,
            EncodingConfig.of(config, made).model_dump_json(),
            *code_digests(["encode"]).values(),
        ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
