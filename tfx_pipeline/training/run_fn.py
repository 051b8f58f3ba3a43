"""`run_fn` of the Trainer component: transformed examples in, exported and documented model out."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_transform as tft

from dmf_keras.models.ranking_model import RankingModel
from serving import contract
from serving.export.content_inputs import ContentInputs
from serving.export.signatures import export_model
from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.config.schema import Evaluation, Features, Model, Training
from tfx_pipeline.data.content.table import ItemContentTable, read_content
from tfx_pipeline.errors import ModelError
from tfx_pipeline.evaluation.item_facts import write_item_facts
from tfx_pipeline.files import artifact_files
from tfx_pipeline.training import golden
from tfx_pipeline.training.metadata import write_metadata
from tfx_pipeline.training.model_schema import content_bases, known_items
from tfx_pipeline.training.model_training import TrainingData, train_model
from tfx_pipeline.training.search.values import with_values
from tfx_pipeline.training.trainer import forget
from tfx_pipeline.transform.dataset import split_files
from tfx_pipeline.transform.request_transform import RequestTransform

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
        explain: whether the signature `explain` is exported.
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
    explain: bool
    evaluation: Evaluation

    @classmethod
    def from_custom_config(cls, custom_config: dict[str, Any]) -> TrainerConfig:
        """Inverse of what the pipeline and the Trainer's executor put into `custom_config`."""
        sections = {"ingestion": IngestionConfig, "features": Features, "model": Model}
        sections |= {"training": Training, "evaluation": Evaluation}
        values = {f.name: custom_config[f.name] for f in dataclasses.fields(cls)}
        return cls(**{k: sections[k].model_validate_json(v) if k in sections else v for k, v in values.items()})

    def tuned(self, values: Mapping[str, Any]) -> TrainerConfig:
        """With the values that a search found best, see `tfx_pipeline.training.search.values`."""
        params, training = with_values(self.model.params, self.training, values)
        return dataclasses.replace(self, model=self.model.model_copy(update={"params": params}), training=training)


def run_fn(fn_args: Any) -> None:
    """Trains the configured model and exports it; the entry that TFX calls by its dotted path.

    Args:
        fn_args: TFX's `FnArgs`; its `custom_config` is what `TrainerConfig` reads. `hyperparameters`, when the
            pipeline has a Tuner, replace those of the configuration.
    """
    config = TrainerConfig.from_custom_config(fn_args.custom_config)
    if fn_args.hyperparameters is not None:
        config = config.tuned(fn_args.hyperparameters["values"])
    examples = Path(os.path.dirname(os.path.dirname(fn_args.train_files[0])))
    tft_output = tft.TFTransformOutput(fn_args.transform_output)
    content = read_content(Path(config.content_uri))
    transform = RequestTransform(
        tft_output,
        Path(config.content_uri, artifact_files.ITEM_IDS),
        config.features,
        config.ingestion.history.max_length,
    )
    state_dir = Path(config.state_root, _state_key(fn_args, config))
    model, result = train_model(
        config.model.name,
        config.model.params,
        config.training,
        TrainingData.read(examples, tft_output, transform, content, config.features),
        state_dir=state_dir,
        tensorboard_dir=Path(fn_args.model_run_dir, "tensorboard"),
    )
    model.save(Path(fn_args.model_run_dir, artifact_files.KERAS_MODEL))
    Path(fn_args.model_run_dir, artifact_files.TRAINING_RESULT).write_text(
        json.dumps(dataclasses.asdict(result), indent=1)
    )
    directory = Path(fn_args.serving_model_dir)
    _export(config, model, tft_output, content, transform, directory)
    write_metadata(
        directory,
        served_name=config.name,
        model=model,
        sections={name: getattr(config, name) for name in ("ingestion", "features", "model", "training")},
        result=result,
        report=json.loads(Path(config.report_uri, artifact_files.INGESTION_REPORT).read_text(encoding="utf-8")),
        content=content,
        artifacts={
            "model_run": fn_args.model_run_dir,
            "transform_graph": fn_args.transform_output,
            "content": config.content_uri,
        },
    )
    forget(state_dir)


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
        explain=config.explain,
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
    ids, impressions, has_content = known_items(tft_output, content)
    write_item_facts(directory, ids, impressions, has_content, config.evaluation)
    (directory / contract.LOGS_FILE).write_text(config.ingestion.to_json(), encoding="utf-8")


def _state_key(fn_args: Any, config: TrainerConfig) -> str:
    """One key per training: the same inputs and settings resume, others start anew."""
    settings = [section.model_dump_json() for section in (config.features, config.model, config.training)]
    parts = [fn_args.transform_output, fn_args.train_files[0], config.content_uri, config.code, *settings]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
