"""What a trial trains on and is judged by: the outputs of the pipeline's data steps."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping

import tensorflow_transform as tft

from tfx_pipeline.config.objectives import Objectives
from tfx_pipeline.config.schema import SPLITS, Evaluation, Features
from tfx_pipeline.data.content.table import read_content
from tfx_pipeline.data.ingestion_report import IngestionReport
from tfx_pipeline.evaluation.item_facts import ItemFacts
from tfx_pipeline.evaluation.known_users import KnownUsers
from tfx_pipeline.files import artifact_files
from tfx_pipeline.files.addresses import Address, join
from tfx_pipeline.files.reading import read_json
from tfx_pipeline.training.model_schema import known_items, known_users
from tfx_pipeline.training.model_training import TrainingData
from tfx_pipeline.transform.dataset import split_files
from tfx_pipeline.transform.request_transform import RequestTransform


@dataclasses.dataclass(frozen=True, eq=False)
class TrialData:
    """Transformed examples to train on, raw examples to score, and what is known of items and users.

    Attributes:
        training_data: transformed examples of train and eval, transform, content.
        examples: files of raw examples, by split.
        facts: train impressions and content of every item.
        known_users: of the train split; None where models have no IDs of users.
        digest: of inputs and code, part of the key of every trial.
        report: of ingestion; None where it was not given.
    """

    training_data: TrainingData
    examples: Mapping[str, list[str]]
    facts: ItemFacts
    known_users: KnownUsers | None
    digest: str
    report: IngestionReport | None


def read_trial_data(
    *,
    examples: Address,
    transformed: Address,
    transform_graph: Address,
    content: Address,
    features: Features,
    max_history: int,
    evaluation: Evaluation,
    digest: str,
    report: Address | None = None,
    objectives: Objectives | None = None,
    age_buckets: int | None = None,
    sequences: Mapping[str, int] | None = None,
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
        objectives: the section of the configuration; None or empty: one.
        age_buckets: `history.age_buckets` of the configuration.
        sequences: the most items of each further history, by name.
    """
    tft_output = tft.TFTransformOutput(os.fspath(transform_graph))
    table = read_content(content)
    transform = RequestTransform(tft_output, join(content, artifact_files.ITEM_IDS), features, max_history, sequences)
    ids, impressions, has_content = known_items(tft_output, table)
    return TrialData(
        training_data=TrainingData.read(transformed, tft_output, transform, table, features, objectives, age_buckets),
        examples={split: split_files(examples, split) for split in SPLITS},
        facts=ItemFacts.of(ids, impressions, has_content, evaluation),
        known_users=known_users(tft_output),
        digest=digest,
        report=_read_report(report) if report is not None else None,
    )


def _read_report(folder: Address) -> IngestionReport:
    return IngestionReport.from_json(read_json(join(folder, artifact_files.INGESTION_REPORT)))
