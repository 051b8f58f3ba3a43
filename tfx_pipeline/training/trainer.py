"""Compile and fit: epochs with early stopping on eval AUC, resumable, on whatever devices are visible."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import tensorflow as tf

from dmf_keras.models.objectives import ObjectiveAUC
from dmf_keras.models.ranking_model import RankingModel
from tfx_pipeline.config.schema import Training
from tfx_pipeline.errors import ModelError
from tfx_pipeline.files.addresses import Address
from tfx_pipeline.files.json_record import JsonRecord
from tfx_pipeline.files.reading import read_json
from tfx_pipeline.files.writing import recover, remove, remove_unfinished
from tfx_pipeline.training.callbacks import (
    STATE_FILE,
    AtomicBackup,
    BestEpoch,
    SettledRows,
    Throughput,
    TrainingProgress,
)
from tfx_pipeline.training.freed_memory import freed_memory_kept
from tfx_pipeline.training.fused_adam import FusedAdam, take_tables
from tfx_pipeline.training.weight_average import WeightAverage
from tfx_pipeline.training.workers.group import Group
from tfx_pipeline.training.workers.loss_scale import AgreedLossScale

_BACKUP = "backup"


@dataclasses.dataclass(frozen=True)
class TrainingResult(JsonRecord):
    """What a training came to.

    Attributes:
        history: metrics of every epoch, as Keras logs them.
        best_epoch: 0-based; the model holds this epoch's weights.
        train_requests: that it was trained on.
        eval_requests: in the eval split; 0 of a refit, which was trained on these too.
        requests_per_second: of steady training steps; None when this process trained no whole epoch.
        real_slots: share of a batch's slots of candidates that hold one, the others being padding; None: not known.
    """

    history: list[dict[str, float]]
    best_epoch: int
    train_requests: int
    eval_requests: int
    requests_per_second: float | None
    real_slots: float | None = None


def training_strategy() -> tf.distribute.Strategy:
    """`MirroredStrategy` over all visible GPUs when there is more than one, else the default strategy."""
    gpus = tf.config.list_logical_devices("GPU")
    return tf.distribute.MirroredStrategy(gpus) if len(gpus) > 1 else tf.distribute.get_strategy()


def precision(training: Training) -> str:
    """Keras's dtype policy for a training on this machine: `mixed_float16` on GPUs, float32 on CPU."""
    mixed = training.mixed_precision == "auto" and bool(tf.config.list_logical_devices("GPU"))
    return "mixed_float16" if mixed else "float32"


def dense_dtype(training: Training) -> str | None:
    """The dtype policy of head and further dense layers, where it is another than that of the model; else None."""
    return "mixed_bfloat16" if training.mixed_precision == "bfloat16" else None


def set_precision(training: Training) -> str:
    """Sets Keras's global dtype policy to `precision`, and returns it."""
    policy = precision(training)
    keras.mixed_precision.set_dtype_policy(policy)
    return policy


def train(
    build: Callable[[], RankingModel],
    train_batches: tf.data.Dataset | tf.distribute.DistributedDataset,
    eval_batches: tf.data.Dataset | tf.distribute.DistributedDataset | None,
    training: Training,
    *,
    train_requests: int,
    eval_requests: int,
    state_dir: Path,
    tensorboard_dir: Address,
    progress: str = "",
    group: Group | None = None,
) -> tuple[RankingModel, TrainingResult]:
    """Trains a model; a second call with the same `state_dir` goes on where a killed one stopped.

    Args:
        build: makes the model, ready to be called; runs inside the distribution strategy's scope.
        train_batches, eval_batches: batches of (inputs, labels, weights), see `training.dataset`. Without an eval split
            all epochs are trained, and the last counts.
        training: epochs, patience, learning rate, seed.
        train_requests, eval_requests: how many requests they have.
        state_dir: keeps backup and best weights between processes; removed by `forget`.
        tensorboard_dir: where TensorBoard's event files go.
        progress: which of several trainings this is, for the user's console.
        group: the processes that train together, each with its share of the batches; its chief alone writes, and the
            others' models keep the weights of the last epoch. None: this process trains alone.

    Returns:
        The model with the weights of its best epoch, and what happened.

    Raises:
        ModelError: the training diverged.
    """
    state_dir.mkdir(parents=True, exist_ok=True)
    strategy = training_strategy() if group is None else group.strategy
    writes = group is None or group.is_chief
    with strategy.scope():
        model = build()
        optimizer = FusedAdam(training.learning_rate, rows=take_tables(model) if training.row_updates else None)
        optimizer.keep_current(model)
        scaled = group is not None and model.dtype_policy.name == "mixed_float16"
        model.compile(
            optimizer=AgreedLossScale(optimizer) if scaled else optimizer,
            weighted_metrics=_metrics(model),
            kept_negatives=training.keep_negatives,
        )
    batch = keras.tree.map_structure(lambda v: strategy.experimental_local_results(v)[0], next(iter(train_batches)))
    model(batch[0])
    model.build_step(batch)
    average = WeightAverage() if training.average_weights else None
    best = BestEpoch(state_dir, training.patience, average, writes)
    rate = fit_epochs(
        model,
        train_batches,
        eval_batches,
        [*([SettledRows(optimizer)] if training.row_updates else []), *([average] if average else []), best],
        best=best,
        average=average,
        epochs=training.epochs,
        requests=train_requests,
        batch_size=training.batch_size,
        state_dir=state_dir,
        tensorboard_dir=tensorboard_dir,
        progress=progress,
        writes=writes,
    )
    if best.diverged:
        if writes:
            forget(state_dir)
        raise ModelError(
            "training diverged: loss or eval AUC is not a number; try a lower training.learning_rate "
            f"(now {training.learning_rate:g}) and look at the ranges of numeric columns"
        )
    return model, TrainingResult(best.history, best.best, train_requests, eval_requests, rate)


def fit_epochs(
    model: keras.Model,
    batches: tf.data.Dataset | tf.distribute.DistributedDataset,
    validation: tf.data.Dataset | tf.distribute.DistributedDataset | None,
    judging: Sequence[keras.callbacks.Callback],
    *,
    best: BestEpoch,
    average: WeightAverage | None = None,
    epochs: int,
    requests: int,
    batch_size: int,
    state_dir: Path,
    tensorboard_dir: Address,
    progress: str,
    writes: bool = True,
) -> float | None:
    """Trains a compiled model until `best` has enough, and leaves it the best epoch's weights.

    Args:
        model: built.
        batches, validation: of requests; None: nothing is validated by Keras.
        judging: callbacks that come before all others, `best` and what it looks at.
        best: decides when to stop. A training that had enough when it was killed is not gone on with.
        average: of the weights, kept in the backup; None: there is none.
        epochs: at most.
        requests: in an epoch.
        batch_size: requests in a batch.
        state_dir, tensorboard_dir, progress: as of `train`.
        writes: False in a process that trains with another, which writes: the backup is read, and nothing printed.

    Returns:
        Requests per second of steady steps; None when this process trained no whole epoch.
    """
    throughput = Throughput(requests, batch_size)
    if best.exhausted:
        best.set_model(model)
        best.on_train_end()
        return None
    told = (
        keras.callbacks.TensorBoard(os.fspath(tensorboard_dir), write_graph=False),
        TrainingProgress(math.ceil(requests / batch_size), epochs, progress),
    )
    with freed_memory_kept():
        model.fit(
            batches,
            validation_data=validation,
            epochs=epochs,
            verbose=0,
            shuffle=False,
            callbacks=[
                *judging,
                AtomicBackup(state_dir / _BACKUP, average, writes),
                keras.callbacks.TerminateOnNaN(),
                *(told if writes else ()),
                throughput,
            ],
        )
    return throughput.requests_per_second


def _metrics(model: RankingModel) -> list[keras.metrics.Metric]:
    """AUC, of several objectives that of each: the first goes by the name that early stopping looks at."""
    names = [objective.name for objective in model.schema.objectives]
    if not names:
        return [keras.metrics.AUC(1000, from_logits=True, name="auc")]
    return [ObjectiveAUC(place, name=f"{name}_auc" if place else "auc") for place, name in enumerate(names)]


def tidy(state_dir: Path) -> None:
    """Clears up what killed writers of a training's state left; nobody else may be reading or writing there."""
    remove_unfinished(state_dir)
    recover(state_dir / _BACKUP)


def epochs_in(state_dir: Path) -> tuple[int, int]:
    """How many epochs a training's state tells of, and after how many of them it goes on."""
    history, backup = state_dir / STATE_FILE, state_dir / _BACKUP / "training_metadata.json"
    return (
        len(read_json(history)) if history.exists() else 0,
        read_json(backup)["epoch"] if backup.exists() else 0,
    )


def is_complete(state_dir: Path, training: Training) -> bool:
    """Whether the state is that of a training after its last epoch."""
    done, backed_up = epochs_in(state_dir)
    # A kill between the two repeats the epoch.
    if not done or done != backed_up:
        return False
    return done >= training.epochs or BestEpoch(state_dir, training.patience, writes=False).exhausted


def forget(state_dir: Path) -> None:
    """Removes the state of a training that is complete and exported."""
    with contextlib.suppress(OSError):
        remove(state_dir)
