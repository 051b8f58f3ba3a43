"""`run_fn` of the Trainer component: transformed examples in, exported and documented model out."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from dmf_keras.models.ranking_model import RankingModel
from dmf_keras.models.registry import build_model
from dmf_keras.models.schema import ModalitySpec, RankingSchema
from serving import contract
from serving.content_inputs import ContentInputs
from serving.export import export_model
from tfx_pipeline import features as names
from tfx_pipeline.config.schema import Categorical, Evaluation, Features, Model, Training
from tfx_pipeline.content.table import ITEM_IDS_FILE, ItemContentTable, read_content
from tfx_pipeline.errors import ModelError
from tfx_pipeline.evaluation.item_facts import write_item_facts
from tfx_pipeline.logs.ingestion_config import IngestionConfig
from tfx_pipeline.training import golden
from tfx_pipeline.training.dataset import count_requests, request_batches, split_files
from tfx_pipeline.training.metadata import write_metadata
from tfx_pipeline.training.request_transform import RequestTransform
from tfx_pipeline.training.trainer import TrainingResult, forget, make_reproducible, set_precision, train

_ADAPT_BATCHES = 20
_GOLDEN_CANDIDATES = 64


@dataclasses.dataclass(frozen=True)
class TrainerConfig:
    """The sections of the configuration that training depends on, and where its artifacts lie.

    Attributes:
        name: of the pipeline, under which the model is served.
        code: digest of the code that trains; another code does not go on with an interrupted training.
        ingestion: where the logs lie and how histories are made of them; travels with the model for `dmf rank`.
        state_root: folder for the state of interrupted trainings.
        content_uri: artifact of `ItemContentGen`.
        requests_uri: raw examples, for golden and warm-up requests.
        report_uri: report of ingestion, for the model's metadata.
        warmup_candidates: numbers of candidates of the warm-up requests.
    """

    name: str
    code: str
    state_root: str
    content_uri: str
    requests_uri: str
    report_uri: str
    ingestion: IngestionConfig
    features: Features
    model: Model
    training: Training
    warmup_candidates: list[int]
    evaluation: Evaluation

    @classmethod
    def from_custom_config(cls, custom_config: dict[str, Any]) -> TrainerConfig:
        """Inverse of what the pipeline and the Trainer's executor put into `custom_config`."""
        sections = {"ingestion": IngestionConfig, "features": Features, "model": Model}
        sections |= {"training": Training, "evaluation": Evaluation}
        values = {f.name: custom_config[f.name] for f in dataclasses.fields(cls)}
        return cls(**{k: sections[k].model_validate_json(v) if k in sections else v for k, v in values.items()})


def run_fn(fn_args: Any) -> None:
    """Trains the configured model and exports it; the entry that TFX calls by its dotted path.

    Args:
        fn_args: TFX's `FnArgs`; its `custom_config` is what `TrainerConfig` reads.
    """
    config = TrainerConfig.from_custom_config(fn_args.custom_config)
    examples = Path(os.path.dirname(os.path.dirname(fn_args.train_files[0])))
    make_reproducible(config.training.seed)
    set_precision(config.training)
    tft_output = tft.TFTransformOutput(fn_args.transform_output)
    content = read_content(Path(config.content_uri))
    transform = RequestTransform(
        tft_output, Path(config.content_uri, ITEM_IDS_FILE), config.features, config.ingestion.history.max_length
    )
    state_dir = Path(config.state_root, _state_key(fn_args, config))
    model, result = _train(config, examples, tft_output, content, transform, state_dir, Path(fn_args.model_run_dir))
    model.save(Path(fn_args.model_run_dir, "model.keras"))
    Path(fn_args.model_run_dir, "training.json").write_text(json.dumps(dataclasses.asdict(result), indent=1))
    directory = Path(fn_args.serving_model_dir)
    _export(config, model, tft_output, content, transform, directory)
    write_metadata(
        directory,
        served_name=config.name,
        model=model,
        sections={name: getattr(config, name) for name in ("ingestion", "features", "model", "training")},
        result=result,
        report=json.loads(Path(config.report_uri, "report.json").read_text(encoding="utf-8")),
        content=content,
        artifacts={
            "model_run": fn_args.model_run_dir,
            "transform_graph": fn_args.transform_output,
            "content": config.content_uri,
        },
    )
    forget(state_dir)


def _train(
    config: TrainerConfig,
    examples: Path,
    tft_output: tft.TFTransformOutput,
    content: ItemContentTable,
    transform: RequestTransform,
    state_dir: Path,
    run_dir: Path,
) -> tuple[RankingModel, TrainingResult]:
    training = config.training
    files = {split: split_files(examples, split) for split in ("train", "eval")}
    counts = {split: count_requests(paths) for split, paths in files.items()}
    train_batches = request_batches(
        files["train"],
        tft_output,
        transform,
        training.batch_size,
        requests=counts["train"],
        shuffle_buffer=min(training.shuffle_buffer, counts["train"]),
        seed=training.seed,
    )
    eval_batches = request_batches(files["eval"], tft_output, transform, training.batch_size, requests=counts["eval"])
    schema = ranking_schema(config.features, tft_output, content)

    def build() -> RankingModel:
        model = build_model(config.model.name, config.model.params, schema, seed=training.seed)
        for modality, layer in model.content.items():
            layer.set_rows(*content_rows(content, modality))
        model.adapt(inputs for inputs, _, _ in train_batches.take(_ADAPT_BATCHES))
        return model

    return train(
        build,
        train_batches,
        eval_batches,
        training,
        train_requests=counts["train"],
        eval_requests=counts["eval"],
        state_dir=state_dir,
        tensorboard_dir=run_dir / "tensorboard",
    )


def _export(
    config: TrainerConfig,
    model: RankingModel,
    tft_output: tft.TFTransformOutput,
    content: ItemContentTable,
    transform: RequestTransform,
    directory: Path,
) -> None:
    directory.parent.mkdir(parents=True, exist_ok=True)
    bases = content_bases(content)
    written = export_model(
        model,
        transform,
        directory,
        name=config.model.name,
        max_history=config.ingestion.history.max_length,
        content_bases=bases,
    )
    requests = golden.read_requests(
        split_files(config.requests_uri, "eval"), list(written.user_inputs), _GOLDEN_CANDIDATES
    )
    if not requests:
        raise ModelError("the eval split has no requests to check the exported model with")
    covered = np.any([modality.present for modality in content.modalities.values()], axis=0)
    item_ids = list(content.item_ids)
    without_content = [item_ids[row] for row in np.flatnonzero(~covered)[:4]]
    cases = golden.golden_cases(requests, without_content)
    if written.content_widths:
        cases |= golden.content_cases(cases["longest history"], content)
    golden.write_golden(model, transform, ContentInputs(model, bases), directory, cases)
    golden.write_warmup_requests(directory, config.name, requests, item_ids, config.warmup_candidates)
    counts = train_impressions(tft_output)
    trained_only = sorted(set(counts) - set(item_ids))
    write_item_facts(
        directory,
        item_ids=item_ids + trained_only,
        train_impressions=[counts.get(item, 0) for item in item_ids + trained_only],
        has_content=[*covered.tolist(), *[False] * len(trained_only)],
        evaluation=config.evaluation,
    )
    (directory / contract.LOGS_FILE).write_text(config.ingestion.to_json(), encoding="utf-8")


def ranking_schema(features: Features, tft_output: tft.TFTransformOutput, content: ItemContentTable) -> RankingSchema:
    """Sizes of the model's tables, from the vocabularies and the content artifact. Row 0 is padding everywhere."""

    def rows(vocabulary: str, oov_buckets: int) -> int:
        return 1 + tft_output.vocabulary_size_by_name(vocabulary) + oov_buckets

    categorical, numeric = {}, []
    for name, column in {**features.user, **features.context}.items():
        if isinstance(column, Categorical):
            categorical[name] = rows(names.column_vocabulary(name), column.oov_buckets)
        elif column.scaling == "quantiles":
            categorical[name] = 1 + column.buckets
        else:
            numeric.append(name)
    return RankingSchema(
        item_rows=rows(names.ITEM_VOCABULARY, features.item_id.oov_buckets),
        user_rows=rows(names.USER_VOCABULARY, features.user_id.oov_buckets) if features.user_id else None,
        categorical=categorical,
        numeric=tuple(numeric),
        modalities={
            name: ModalitySpec(width=modality.width, dtype=modality.storage_dtype)
            for name, modality in content.modalities.items()
        },
        content_rows=1 + len(content.item_ids),
    )


def content_rows(content: ItemContentTable, modality: str) -> tuple[np.ndarray, np.ndarray]:
    """A modality's vectors [items + 1, width] and presence [items + 1]; row 0 is the item without content."""
    table = content.modalities[modality]
    vectors = np.concatenate([np.zeros_like(table.vectors[:1]), table.vectors])
    return vectors, np.concatenate([[False], table.present])


def content_bases(content: ItemContentTable) -> dict[str, np.ndarray]:
    """The projections [source width, width] of the modalities that were reduced."""
    return {name: matrix.basis for name, matrix in content.modalities.items() if matrix.basis is not None}


def train_impressions(tft_output: tft.TFTransformOutput) -> dict[str, int]:
    """Impressions of each item in the train split, as Transform counted them."""
    path = tft_output.vocabulary_file_by_name(names.ITEM_COUNTS)
    counts = {}
    with tf.io.gfile.GFile(path) as lines:
        for line in lines:
            count, item = line.rstrip("\n").split(" ", 1)
            counts[item] = int(count)
    return counts


def _state_key(fn_args: Any, config: TrainerConfig) -> str:
    """One key per training: the same inputs and settings resume, others start anew."""
    settings = [section.model_dump_json() for section in (config.features, config.model, config.training)]
    parts = [fn_args.transform_output, fn_args.train_files[0], config.content_uri, config.code, *settings]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
