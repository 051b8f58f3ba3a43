"""`retrieval_fn` of the step RetrievalTrainer: transformed examples in, two towers and a searchable catalogue out."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from serving.export.retrieval import RetrievalStage
from serving.export.signatures import export_model
from tfx_pipeline.files import artifact_files
from tfx_pipeline.files.addresses import join, local
from tfx_pipeline.files.writing import write_text, writing
from tfx_pipeline.training.model_schema import content_bases
from tfx_pipeline.training.retrieval.stage import catalogue_index
from tfx_pipeline.training.retrieval.training import train_two_towers
from tfx_pipeline.training.settings import RetrievalSettings
from tfx_pipeline.training.trainer import forget
from tfx_pipeline.training.training_job import read_data, state_dir


def retrieval_fn(fn_args: Any) -> None:
    """Trains the two-tower model of `stages.retrieval` and exports it; the entry that TFX calls by its dotted path.

    The model is exported by itself, with `retrieve` and without `recommend`. RankingTrainer reads its `model_run`, and
    exports it once more beside the ranker.

    Args:
        fn_args: as of `run_fn`; its `custom_config` has the `RetrievalSettings`.
    """
    settings = RetrievalSettings.from_custom_config(fn_args.custom_config)
    data, state = read_data(fn_args, settings), state_dir(fn_args, settings)
    model, result = train_two_towers(
        settings.retrieval,
        settings.training,
        data,
        state_dir=state,
        tensorboard_dir=join(fn_args.model_run_dir, "tensorboard"),
    )
    with writing(join(fn_args.model_run_dir, artifact_files.TWO_TOWERS)) as file:
        model.save(file)
    write_text(
        join(fn_args.model_run_dir, artifact_files.TRAINING_RESULT), json.dumps(dataclasses.asdict(result), indent=1)
    )
    directory = local(fn_args.serving_model_dir)
    directory.parent.mkdir(parents=True, exist_ok=True)
    export_model(
        model,
        data.transform,
        directory,
        name="two_towers",
        max_history=settings.ingestion.history.max_length,
        content_bases=content_bases(data.content),
        retrieval=RetrievalStage(model, catalogue_index(model, data.transform, data.content)),
    )
    forget(state)
