"""`run_fn` of the Trainer component: transformed examples in, exported and documented model out."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_transform as tft

from dmf_keras.models.ranking_model import RankingModel
from serving import contract
from serving.export.content_inputs import ContentInputs
from serving.export.signatures import export_model
from tfx_pipeline.data.content.table import ItemContentTable, read_content
from tfx_pipeline.data.ingestion_report import IngestionReport
from tfx_pipeline.errors import ModelError
from tfx_pipeline.evaluation.item_facts import write_item_facts
from tfx_pipeline.files import artifact_files
from tfx_pipeline.files.addresses import join, local, parent
from tfx_pipeline.files.reading import read_json
from tfx_pipeline.files.writing import write_text, writing
from tfx_pipeline.training import golden
from tfx_pipeline.training.calibration import calibrate
from tfx_pipeline.training.input_uris import CONTENT, REPORT, REQUESTS, uri_of
from tfx_pipeline.training.metadata import write_metadata
from tfx_pipeline.training.model_schema import content_bases, known_items
from tfx_pipeline.training.model_training import TrainingData, train_model
from tfx_pipeline.training.settings import TrainingSettings
from tfx_pipeline.training.trainer import forget
from tfx_pipeline.transform.dataset import split_files
from tfx_pipeline.transform.request_transform import RequestTransform

_GOLDEN_CANDIDATES = 64


def run_fn(fn_args: Any) -> None:
    """Trains the configured model and exports it; the entry that TFX calls by its dotted path.

    Args:
        fn_args: TFX's `FnArgs`; its `custom_config` has the `TrainingSettings` and the folders of the further inputs.
            `hyperparameters`, when the pipeline has a Tuner, replace those of the configuration.
    """
    settings = TrainingSettings.from_custom_config(fn_args.custom_config)
    if fn_args.hyperparameters is not None:
        settings = settings.tuned(fn_args.hyperparameters["values"])
    examples = parent(parent(fn_args.train_files[0]))
    tft_output = tft.TFTransformOutput(fn_args.transform_output)
    content_uri = uri_of(fn_args.custom_config, CONTENT)
    content = read_content(content_uri)
    transform = RequestTransform(
        tft_output,
        join(content_uri, artifact_files.ITEM_IDS),
        settings.features,
        settings.ingestion.history.max_length,
    )
    state_dir = local(join(settings.state_root, _state_key(fn_args, content_uri, settings)))
    data = TrainingData.read(
        examples, tft_output, transform, content, settings.features, settings.objectives, settings.age_buckets
    )
    model, result = train_model(
        settings.model.name,
        settings.model.params,
        settings.training,
        data,
        state_dir=state_dir,
        tensorboard_dir=join(fn_args.model_run_dir, "tensorboard"),
    )
    calibrated = calibrate(model, data.eval_batches(settings.training.batch_size), settings.calibration)
    with writing(join(fn_args.model_run_dir, artifact_files.KERAS_MODEL)) as file:
        model.save(file)
    write_text(
        join(fn_args.model_run_dir, artifact_files.TRAINING_RESULT), json.dumps(dataclasses.asdict(result), indent=1)
    )
    directory = local(fn_args.serving_model_dir)
    _export(settings, model, tft_output, content, transform, uri_of(fn_args.custom_config, REQUESTS), directory)
    write_metadata(
        directory,
        served_name=settings.name,
        model=model,
        sections={name: getattr(settings, name) for name in ("ingestion", "features", "model", "training")},
        result=result,
        calibrated=calibrated,
        report=IngestionReport.from_json(
            read_json(join(uri_of(fn_args.custom_config, REPORT), artifact_files.INGESTION_REPORT))
        ),
        content=content,
        artifacts={
            "model_run": fn_args.model_run_dir,
            "transform_graph": fn_args.transform_output,
            "content": content_uri,
        },
    )
    forget(state_dir)


def _export(
    settings: TrainingSettings,
    model: RankingModel,
    tft_output: tft.TFTransformOutput,
    content: ItemContentTable,
    transform: RequestTransform,
    requests_uri: str,
    directory: Path,
) -> None:
    directory.parent.mkdir(parents=True, exist_ok=True)
    bases = content_bases(content)
    written = export_model(
        model,
        transform,
        directory,
        name=settings.model.name,
        max_history=settings.ingestion.history.max_length,
        content_bases=bases,
        explain=settings.explain,
        formula=settings.formula,
    )
    own = written.candidate_inputs
    eval_files = split_files(requests_uri, "eval")
    requests = golden.read_requests(eval_files, written, _GOLDEN_CANDIDATES)
    if not requests:
        raise ModelError("the eval split has no requests to check the exported model with")
    item_ids = list(content.item_ids)
    without_content = [item_ids[row] for row in np.flatnonzero(~content.covered)[:4]]
    cases = golden.golden_cases(requests, without_content, own, written.user_lists)
    if written.content_widths:
        cases |= golden.content_cases(cases["longest history"], content, own)
    golden.write_golden(model, transform, ContentInputs(model, bases), directory, cases)
    golden.write_warmup_requests(directory, settings.name, requests, item_ids, settings.warmup_candidates)
    ids, impressions, has_content = known_items(tft_output, content)
    write_item_facts(directory, ids, impressions, has_content, settings.evaluation)
    write_text(join(directory, contract.LOGS_FILE), settings.ingestion.to_json())


def _state_key(fn_args: Any, content_uri: str, settings: TrainingSettings) -> str:
    """One key per training: the same inputs and settings resume, others start anew."""
    sections = [section.model_dump_json() for section in (settings.features, settings.model, settings.training)]
    if settings.objectives:
        sections.append(settings.to_custom_config()["objectives"])
    if settings.age_buckets is not None:
        sections.append(f"age_buckets {settings.age_buckets}")
    parts = [fn_args.transform_output, fn_args.train_files[0], content_uri, settings.code, *sections]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
