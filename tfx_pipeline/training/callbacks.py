"""Callbacks of a training: the best epoch's weights and early stopping that survive a kill, and progress."""

from __future__ import annotations

import contextlib
import json
import math
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

from tfx_pipeline.console import console, task_column
from tfx_pipeline.files.reading import read_json
from tfx_pipeline.files.writing import recover, remove, remove_unfinished, write_text, writing, writing_folder
from tfx_pipeline.training.chance import eval_auc, has_left_chance
from tfx_pipeline.training.fused_adam import FusedAdam
from tfx_pipeline.training.weight_average import WeightAverage

_UNSTEADY_STEPS = 10
_AVERAGE = "weight_average.npz"
STATE_FILE = "best_epoch.json"
# Metrics by name, as Keras hands them to callbacks.
Logs = Mapping[str, Any] | None


class SettledRows(keras.callbacks.Callback):
    """Brings tables that are updated by rows up to date at the end of an epoch: before validation, or before a backup.

    To be named before the callbacks that look at weights.

    Args:
        optimizer: of the model.
    """

    def __init__(self, optimizer: FusedAdam):
        super().__init__()
        self._optimizer = optimizer
        self._settle = tf.function(self._on_each_replica, autograph=False)

    def on_test_begin(self, logs: Logs = None) -> None:
        """Of the validation after an epoch."""
        self._settle()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Without validation; after one there is nothing to make up for."""
        if not any(name.startswith("val_") for name in logs or {}):
            self._settle()

    def _on_each_replica(self) -> None:
        self.model.distribute_strategy.run(self._optimizer.settle)


class BestEpoch(keras.callbacks.Callback):
    """Early stopping on eval AUC with the best weights and the whole history on disk.

    Of several objectives it is the mean of their AUCs: the first alone would stop before the others have learned.

    Keras's `EarlyStopping` forgets its best weights and its patience when the process dies; this one reads them
    back, so that a resumed training stops by the same rule as an uninterrupted one. It is not equal to that bit by
    bit: its process begins with the shuffle orders of the first epochs again.

    Without an eval split nothing stops it, and the last epoch counts.

    Args:
        directory: where the state lies between processes.
        patience: epochs without improvement before training stops. They count once eval AUC has left chance: IDs
            learn nothing that eval shows in their first epochs, and a flat beginning is not the end.
        average: whose weights are those of an epoch; None: the weights after its last step are.
        writes: False in a process that trains with another, which writes for both: nothing is written, and the model
            keeps the weights of the last epoch.
    """

    def __init__(self, directory: Path, patience: int, average: WeightAverage | None = None, writes: bool = True):
        super().__init__()
        self._average = average
        self._directory = directory
        self._writes = writes
        self._state_file = directory / STATE_FILE
        if writes:
            # Weights are large: one half-written file for every kill would fill the disk.
            remove_unfinished(directory)
        self._patience = patience
        self.history: list[dict[str, float]] = []
        if self._state_file.exists():
            self.history = read_json(self._state_file)

    @property
    def best(self) -> int:
        """Index of the best epoch so far, 0-based; the earlier one of equals."""
        return self._best_of(self.history)

    @property
    def exhausted(self) -> bool:
        """Whether the last epochs, as many as patience allows, brought nothing better to a model that has learned."""
        return self.has_learned() and len(self.history) - 1 - self.best >= self._patience

    @property
    def diverged(self) -> bool:
        """Whether there is no epoch, or a metric of the best one is not a number."""
        return not self.history or not all(math.isfinite(value) for value in self.history[self.best].values())

    def judged(self, epoch: Mapping[str, float]) -> float:
        """What an epoch is judged by, the higher the better, of its metrics."""
        return eval_auc(epoch)

    def has_learned(self) -> bool:
        """Whether the epochs so far say anything about the next."""
        return has_left_chance(self.history)

    def _best_of(self, history: list[dict[str, float]]) -> int:
        if not any(name.startswith("val_") for name in history[-1]):
            return len(history) - 1
        return max(range(len(history)), key=lambda epoch: (self.judged(history[epoch]), -epoch))

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Remembers the epoch, its weights if it is the best, and stops when patience is used up."""
        before = self.history[:epoch]
        self.history = [*before, {key: float(value) for key, value in (logs or {}).items()}]
        if self._writes:
            self._write(epoch, before)
        if self.exhausted:
            self.model.stop_training = True

    def _write(self, epoch: int, before: list[dict[str, float]]) -> None:
        if self.best == epoch:
            averaged = self._average.in_model() if self._average else contextlib.nullcontext()
            with averaged, writing(self._weights(epoch)) as file:
                self.model.save_weights(file)
        write_text(self._state_file, json.dumps(self.history))
        # A killed run may repeat the epoch it had just finished, with another outcome: the best weights before it are
        # kept beside its own.
        kept = {self._weights(self.best), *([self._weights(self._best_of(before))] if before else [])}
        for weights in set(self._directory.glob("best-*.weights.h5")) - kept:
            remove(weights)

    def on_train_end(self, logs: Logs = None) -> None:
        """Gives the model the best epoch's weights."""
        if self.history and self._writes:
            self.model.load_weights(self._weights(self.best))

    def _weights(self, epoch: int) -> Path:
        return self._directory / f"best-{epoch}.weights.h5"


class AtomicBackup(keras.callbacks.BackupAndRestore):
    """`BackupAndRestore` whose backup is whole or absent: a kill while it is written leaves the one before.

    Keras writes weights and epoch number one after the other in place; here both go to a new folder that is
    renamed once complete.

    Args:
        backup_dir: the folder.
        average: of the weights, kept beside them; None: there is none.
        writes: False in a process that trains with another, which writes: the backup is only read.
    """

    def __init__(self, backup_dir: Path, average: WeightAverage | None = None, writes: bool = True):
        super().__init__(str(backup_dir), delete_checkpoint=False)
        self._backup_dir = backup_dir
        self._average = average
        self._writes = writes
        if writes:
            recover(backup_dir)

    def _load_model(self) -> None:
        super()._load_model()
        average = self._backup_dir / _AVERAGE
        if self._average and average.exists():
            self._average.load(average)

    def _save_model(self) -> None:
        if not self._writes:
            return
        with writing_folder(self._backup_dir, replace=True) as folder:
            self.model.save_weights(folder / Path(self._weights_path).name)
            if self._average:
                self._average.save(folder / _AVERAGE)
            last = {"epoch": self._current_epoch, "batch": self._last_batch_seen}
            write_text(folder / Path(self._training_metadata_path).name, json.dumps(last))


class Throughput(keras.callbacks.Callback):
    """Requests per second of the training steps, once they run steadily.

    The first steps of an epoch are left out: they trace, compile and fill the shuffle buffer. So is what lies between
    epochs: evaluation and backups.

    Args:
        requests: in an epoch.
        batch_size: requests in every batch but the last.
        clock: seconds that pass.
    """

    def __init__(self, requests: int, batch_size: int, clock: Callable[[], float] = time.perf_counter):
        super().__init__()
        self._requests, self._batch_size, self._clock = requests, batch_size, clock
        batches = math.ceil(requests / batch_size)
        # The end of this step, 0-based, starts the clock; of a short epoch half is left out.
        self._first = min(_UNSTEADY_STEPS, batches // 2) - 1
        self._last = batches - 1
        self._started: float | None = None
        self._rates: list[float] = []

    @property
    def requests_per_second(self) -> float | None:
        """The median epoch's; None before a whole epoch of at least two steps."""
        return statistics.median(self._rates) if self._rates else None

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Forgets an epoch that was cut short."""
        self._started = None

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Starts or stops the clock."""
        if batch == self._first:
            self._started = self._clock()
        elif batch == self._last and self._started is not None:
            steady = self._requests - (self._first + 1) * self._batch_size
            self._rates.append(steady / (self._clock() - self._started))


class TrainingProgress(keras.callbacks.Callback):
    """One bar an epoch on the user's console, and a line of metrics when it ends.

    Args:
        batches: in an epoch.
        epochs: at most.
        title: which of several trainings it is; begins every line.
    """

    def __init__(self, batches: int, epochs: int, title: str = ""):
        super().__init__()
        self._batches, self._epochs = batches, epochs
        self._prefix = f"  {title}  " if title else "  "
        self._progress: Progress | None = None

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Starts a bar."""
        self._progress = Progress(
            task_column("{task.description}epoch {task.fields[epoch]} loss {task.fields[loss]:.4f}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console(),
            transient=True,
            # Elsewhere it would leave an empty line for every bar.
            disable=not console().is_terminal,
        )
        self._progress.start()
        self._task = self._progress.add_task(
            self._prefix, total=self._batches, epoch=f"{epoch + 1}/{self._epochs}", loss=float("nan")
        )

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Moves the bar."""
        if self._progress is not None:
            # Reading the loss waits for the device; once in a while is enough.
            if logs and batch % 50 == 0:
                self._progress.update(self._task, loss=float(logs["loss"]))
            self._progress.update(self._task, completed=batch + 1)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Ends the bar and prints the metrics."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        shown = "  ".join(f"{key} {float(value):.4f}" for key, value in (logs or {}).items())
        console().print(f"{self._prefix}epoch {epoch + 1}/{self._epochs}: {shown}", soft_wrap=True)

    def on_train_end(self, logs: Logs = None) -> None:
        """Ends the bar of an epoch that was cut short."""
        if self._progress is not None:
            self._progress.stop()
