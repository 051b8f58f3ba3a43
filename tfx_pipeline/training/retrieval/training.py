"""A two-tower model, trained for retrieval on transformed examples."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import keras
import tensorflow as tf

from dmf_keras.models.inputs import POSITIVES
from dmf_keras.models.registry import model_config
from tfx_pipeline.config.label import CANDIDATES
from tfx_pipeline.config.schema import Training
from tfx_pipeline.config.stages import Retrieval
from tfx_pipeline.errors import ModelError
from tfx_pipeline.evaluation.catalogue_scoring import embedding_rows
from tfx_pipeline.files.addresses import Address
from tfx_pipeline.training.fused_adam import FusedAdam
from tfx_pipeline.training.item_statistics import item_statistics
from tfx_pipeline.training.model_training import TrainingData, new_model, schema_of
from tfx_pipeline.training.reproducible import make_reproducible
from tfx_pipeline.training.retrieval.recall import BestRecall, RecallOnEval
from tfx_pipeline.training.retrieval.task import Catalogue, RetrievalTask
from tfx_pipeline.training.table_memory import check_memory
from tfx_pipeline.training.trainer import TrainingResult, fit_epochs, forget
from tfx_pipeline.transform.dataset import sampled_files

if TYPE_CHECKING:
    from dmf_keras.models.two_towers.model import TwoTowers

_NAME = "two_towers"
# Of eval, by which epochs are judged: each ranks the whole catalogue.
_JUDGED_REQUESTS = 20_000


def train_two_towers(
    settings: Retrieval,
    training: Training,
    data: TrainingData,
    *,
    state_dir: Path,
    tensorboard_dir: Address,
    modalities: Sequence[str] = (),
    without: Sequence[str] = (),
    progress: str = "retrieval",
) -> tuple[TwoTowers, TrainingResult]:
    """Seeds the process, builds a `two_towers` and trains it; a killed training goes on from its last whole epoch.

    What counts as clicked is the main label. Columns of candidates are none of the model's: nobody knows them of the
    catalogue's items.

    Args:
        settings: of the stage.
        training: gives seed and shuffling; the rest is the ranker's.
        data: examples and content.
        state_dir: keeps backup and best weights between processes; removed by `forget`.
        tensorboard_dir: where TensorBoard's event files go.
        modalities: those that the model is given; none named: all.
        without: what else it is not given, as in `Label`.
        progress: which of several trainings it is, for the user's console.

    Returns:
        The model with the weights of its best epoch, and what happened.

    Raises:
        ModelError: the tables do not fit into the memory, the train split has no click on an item of the catalogue, or
            the training diverged.
    """
    data = dataclasses.replace(data, objectives={})
    without = (CANDIDATES, *without)
    schema = schema_of(_NAME, settings.params, data, modalities, without)
    unaveraged = training.model_copy(update={"average_weights": False})
    config = model_config(_NAME, settings.params)
    check_memory(_NAME, schema, config, unaveraged, params="stages.retrieval.params")
    make_reproducible(training.seed)
    keras.mixed_precision.set_dtype_policy("float32")
    # Retrieval has no use for what was shown without a click, unless it is a negative.
    share = {} if settings.shown_negatives else {"keep_negatives": 0.0}
    training = training.model_copy(
        update={"batch_size": settings.batch_size, "keep_negatives": 1.0, "max_candidates": None, **share}
    )
    train_batches = data.train_batches(training)
    model = new_model(
        _NAME,
        settings.params,
        data,
        modalities=modalities,
        without=without,
        seed=training.seed,
    )
    tower = cast("TwoTowers", model)
    # The same for all items: a softmax over them has no gradient of it.
    tower.head.bias.trainable = False
    positives = item_statistics([POSITIVES], data.files["train"], data.tft_output, data.content)[POSITIVES][1:]
    if not positives.any():
        raise ModelError(
            "stages.retrieval: the train split has no click on an item of the catalogue (data.items), so there is "
            "nothing to learn from; look at the report of ingestion, or leave out stages"
        )
    catalogue = Catalogue(embedding_rows(data.transform, data.content.item_ids), positives)
    task = RetrievalTask(tower, catalogue, settings, training.seed)
    optimizer = FusedAdam(settings.learning_rate)
    task.compile(optimizer=optimizer, jit_compile=False)
    optimizer.build(task.trainable_variables)
    requests = data.requests["train"]
    best = BestRecall(state_dir, settings.patience)
    state_dir.mkdir(parents=True, exist_ok=True)
    task(next(iter(train_batches))[0])
    rate = fit_epochs(
        task,
        train_batches,
        None,
        [RecallOnEval(catalogue.index, _judged(data, settings.batch_size)), best],
        best=best,
        epochs=settings.epochs,
        requests=requests,
        batch_size=settings.batch_size,
        state_dir=state_dir,
        tensorboard_dir=tensorboard_dir,
        progress=progress,
    )
    if best.diverged:
        forget(state_dir)
        raise ModelError(
            "retrieval diverged: its loss is not a number; try a lower stages.retrieval.learning_rate "
            f"(now {settings.learning_rate:g})"
        )
    return tower, TrainingResult(best.history, best.best, requests, data.requests["eval"], rate)


def _judged(data: TrainingData, batch_size: int) -> tf.data.Dataset:
    files = sampled_files(data.files["eval"], data.requests["eval"], _JUDGED_REQUESTS)
    return dataclasses.replace(data, files={**data.files, "eval": files}).eval_batches(batch_size)
