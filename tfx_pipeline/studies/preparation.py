"""The data of a study: the outputs of the pipeline's data steps, which `dmf run` uses too."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from tfx.orchestration import metadata

from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.pipeline import metadata_path
from tfx_pipeline.runners.cache_keys import code_digests, fingerprints
from tfx_pipeline.runners.history import RunHistory
from tfx_pipeline.runners.local import check_inputs, run_pipeline
from tfx_pipeline.training.trial_data import TrialData, read_trial_data

_LAST_DATA_STEP = "Transform"
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
    check_inputs(config)
    steps = run_pipeline(config, until=_LAST_DATA_STEP)
    with metadata.Metadata(metadata.sqlite_metadata_connection_config(str(metadata_path(config)))) as store:
        history = RunHistory(store.store, config.name)
        outputs = {step.node: history.outputs(step.execution_id) for step in steps}

    def only(node: str, key: str) -> str:
        uri: str = outputs[node][key][0].uri
        return uri

    return read_trial_data(
        examples=only("BehaviorLogExampleGen", "examples"),
        transformed=only("Transform", "transformed_examples"),
        transform_graph=only("Transform", "transform_graph"),
        content=only("ItemContentGen", "content"),
        features=config.features,
        max_history=config.history.max_length,
        evaluation=config.evaluation,
        digest=data_digest(config, code),
        report=only("BehaviorLogExampleGen", "report"),
        objectives=config.objectives,
        age_buckets=config.history.age_buckets,
        sequences=config.history.longest_sequences,
    )


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
        *code_digests((*_CODE, *code)).values(),
        IngestionConfig.of(config).to_json(),
        config.features.model_dump_json(),
        config.content.model_dump_json(),
        hashlib.sha256(schema.read_bytes()).hexdigest() if schema else "",
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
