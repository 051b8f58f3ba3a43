"""What a trial trains on and is judged by: the outputs of the pipeline's data steps."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import tensorflow_transform as tft
from tfx.orchestration import metadata

from tfx_pipeline.components.behavior_log_example_gen.executor import REPORT_FILE as INGESTION_REPORT
from tfx_pipeline.config.schema import Evaluation, Features, PipelineConfig
from tfx_pipeline.content.table import ITEM_IDS_FILE, read_content
from tfx_pipeline.evaluation.item_facts import ItemFacts
from tfx_pipeline.fingerprints import fingerprints
from tfx_pipeline.logs.ingestion_config import IngestionConfig
from tfx_pipeline.pipeline import metadata_path
from tfx_pipeline.runners.history import RunHistory
from tfx_pipeline.runners.local import check_inputs, run_pipeline
from tfx_pipeline.training.dataset import split_files
from tfx_pipeline.training.model_schema import known_items
from tfx_pipeline.training.model_training import TrainingData
from tfx_pipeline.training.request_transform import RequestTransform

_LAST_DATA_STEP = "Transform"
_CODE = ("ingest", "content", "transform", "train", "trial")


@dataclasses.dataclass(frozen=True, eq=False)
class TrialData:
    """Transformed examples to train on, raw examples to score, and what is known of the items.

    Attributes:
        training_data: transformed examples of train and eval, transform, content.
        examples: files of raw examples, by split: eval and test.
        facts: train impressions and content of every item.
        digest: of inputs and code, part of the key of every trial.
        report: of ingestion; empty where it was not given.
    """

    training_data: TrainingData
    examples: Mapping[str, list[str]]
    facts: ItemFacts
    digest: str
    report: Mapping[str, Any]


def prepare(config: PipelineConfig, *, code: Sequence[str] = ()) -> TrialData:
    """Runs the pipeline's data steps, or takes them from the cache that `dmf run` uses too.

    To be called while the output folder is held, see `tfx_pipeline.output_folder.hold_output`.

    Args:
        config: the validated configuration.
        code: what `tfx_pipeline.fingerprints` has digests of and the caller's results depend on, beside the code that
            trains and scores.

    Raises:
        PipelineError: the inputs or a step refuse.
    """
    check_inputs(config)
    steps = run_pipeline(config, until=_LAST_DATA_STEP)
    with metadata.Metadata(metadata.sqlite_metadata_connection_config(str(metadata_path(config)))) as store:
        history = RunHistory(store.store, config.name)
        outputs = {step.node: history.outputs(step.execution_id) for step in steps}

    def only(node: str, key: str) -> Path:
        return Path(outputs[node][key][0].uri)

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
    )


def read_trial_data(
    *,
    examples: Path,
    transformed: Path,
    transform_graph: Path,
    content: Path,
    features: Features,
    max_history: int,
    evaluation: Evaluation,
    digest: str,
    report: Path | None = None,
) -> TrialData:
    """The data of trials from the folders of artifacts.

    Args:
        examples: raw, of BehaviorLogExampleGen.
        transformed, transform_graph: of Transform.
        content: of ItemContentGen.
        features: the section of the configuration.
        max_history: `history.max_length` of the configuration.
        evaluation: the borders of the slices.
        digest: names inputs and code.
        report: of BehaviorLogExampleGen.
    """
    tft_output = tft.TFTransformOutput(str(transform_graph))
    table = read_content(content)
    transform = RequestTransform(tft_output, content / ITEM_IDS_FILE, features, max_history)
    ids, impressions, has_content = known_items(tft_output, table)
    return TrialData(
        training_data=TrainingData.read(transformed, tft_output, transform, table, features),
        examples={split: split_files(examples, split) for split in ("eval", "test")},
        facts=ItemFacts(pd.Index([item.encode() for item in ids], dtype=object), impressions, has_content, evaluation),
        digest=digest,
        report=json.loads((report / INGESTION_REPORT).read_text(encoding="utf-8")) if report else {},
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
        *(prints.code[step] for step in (*_CODE, *code)),
        IngestionConfig.of(config).to_json(),
        config.features.model_dump_json(),
        config.content.model_dump_json(),
        hashlib.sha256(schema.read_bytes()).hexdigest() if schema else "",
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
