"""Best epoch and backup, with a process that dies at every point where it could hurt."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.dmf_keras.models.batches import requests, small_model
from tfx_pipeline.training.callbacks import AtomicBackup, BestEpoch


class Killed(BaseException):
    """Not an Exception: nothing may catch it and tidy up, as nothing does after SIGKILL."""


@pytest.fixture(scope="module")
def model() -> keras.Model:
    model = small_model()
    model.compile(optimizer=keras.optimizers.Adam(0.01))
    x = requests(8, 3, 4)
    model.fit(x, (x["candidate_index"] % 2).astype(np.float32), verbose=0)
    return model


def fill(model: keras.Model, value: float) -> None:
    """Marks the model: every trained weight is `value`."""
    for weight in model.trainable_weights:
        weight.assign(np.full(weight.shape, value, np.float32))


def mark(model: keras.Model) -> float:
    values = {float(v) for weight in model.trainable_weights for v in np.unique(keras.ops.convert_to_numpy(weight))}
    assert len(values) == 1, "weights of several epochs are mixed"
    return values.pop()


class Training:
    """Epochs as `fit` would announce them to the callback, the weights of epoch n being n."""

    def __init__(self, model: keras.Model, directory: Path, patience: int = 2):
        self.model = model
        self.best = BestEpoch(directory, patience)
        self.best.set_model(model)
        model.stop_training = False

    def epoch(self, number: int, auc: float, weights: float | None = None, **further: float) -> None:
        fill(self.model, number if weights is None else weights)
        self.best.on_epoch_end(number, {"val_auc": auc, "loss": 1.0, **further})

    def end(self) -> float:
        fill(self.model, -1)
        self.best.on_train_end()
        return mark(self.model)


def test_the_model_ends_with_the_weights_of_the_best_epoch(model, tmp_path):
    training = Training(model, tmp_path)
    for number, auc in enumerate([0.6, 0.8, 0.7]):
        training.epoch(number, auc)
    assert training.best.best == 1
    assert training.end() == 1
    assert [entry["val_auc"] for entry in training.best.history] == [0.6, 0.8, 0.7]


def test_of_several_objectives_the_mean_of_their_aucs_counts(model, tmp_path):
    training = Training(model, tmp_path, patience=2)
    # The first alone is best in epoch 0, and would stop the training after epoch 2.
    for number, (first, second) in enumerate([(0.80, 0.5), (0.79, 0.6), (0.78, 0.7), (0.70, 0.71)]):
        training.epoch(number, first, val_buy_auc=second, val_auc_ratio=9.0)
        assert not model.stop_training
    assert training.end() == 2


def test_one_objective_that_learns_is_enough_for_patience_to_count(model, tmp_path):
    training = Training(model, tmp_path, patience=1)
    training.epoch(0, 0.53, val_buy_auc=0.48)
    training.epoch(1, 0.52, val_buy_auc=0.48)
    assert model.stop_training


def test_of_equal_epochs_the_earlier_is_the_best(model, tmp_path):
    training = Training(model, tmp_path)
    training.epoch(0, 0.7)
    training.epoch(1, 0.7)
    assert training.end() == 0


@pytest.mark.parametrize(
    ("patience", "aucs", "stops_after"),
    [
        (1, [0.5, 0.6, 0.6, 0.9], 3),
        (2, [0.5, 0.6, 0.5, 0.7, 0.6, 0.6], 6),
        (2, [0.9, 0.8, 0.7, 0.95], 3),
        (3, [0.5, 0.6, 0.7, 0.8], None),
        # IDs alone, as MovieLens has them: flat at chance for epochs, then up.
        (1, [0.4993, 0.5017, 0.5011, 0.5016, 0.56, 0.61, 0.60], 7),
        (1, [0.51, 0.5, 0.49, 0.5], None),
        (2, [0.48, 0.511, 0.505, 0.508], 4),
    ],
)
def test_training_stops_when_patience_is_used_up(model, tmp_path, patience, aucs, stops_after):
    training = Training(model, tmp_path, patience)
    stopped = None
    for number, auc in enumerate(aucs):
        training.epoch(number, auc)
        assert model.stop_training == training.best.exhausted
        if model.stop_training:
            stopped = number + 1
            break
    assert stopped == stops_after


def test_a_training_that_sat_at_chance_goes_on_after_a_kill(model, tmp_path):
    first = Training(model, tmp_path, patience=1)
    first.epoch(0, 0.502)
    first.epoch(1, 0.501)
    second = Training(model, tmp_path, patience=1)
    assert not second.best.exhausted
    second.epoch(2, 0.6)
    assert not model.stop_training
    second.epoch(3, 0.59)
    assert model.stop_training
    assert second.end() == 2


def test_another_process_goes_on_with_history_best_weights_and_patience(model, tmp_path):
    first = Training(model, tmp_path, patience=2)
    first.epoch(0, 0.8)
    first.epoch(1, 0.7)
    second = Training(model, tmp_path, patience=2)
    assert second.best.history == first.best.history
    assert not second.best.exhausted
    second.epoch(2, 0.75)
    assert model.stop_training
    assert second.end() == 0
    # And one that died after its last epoch has nothing left to train.
    third = Training(model, tmp_path, patience=2)
    assert third.best.exhausted
    assert third.end() == 0


def test_only_the_weights_that_may_be_needed_are_kept(model, tmp_path):
    training = Training(model, tmp_path, patience=9)
    for number, auc in enumerate([0.5, 0.6, 0.7, 0.65, 0.8, 0.9]):
        training.epoch(number, auc)
        assert len(list(tmp_path.glob("*.h5"))) <= 2
    assert training.end() == 5


def test_an_epoch_that_is_repeated_may_turn_out_worse(model, tmp_path):
    """Killed after the state was written and before the backup: the epoch is trained again, shuffled otherwise."""
    first = Training(model, tmp_path)
    first.epoch(0, 0.7)
    first.epoch(1, 0.9)
    second = Training(model, tmp_path)
    second.epoch(1, 0.6, weights=11)
    assert [entry["val_auc"] for entry in second.best.history] == [0.7, 0.6]
    assert second.end() == 0
    third = Training(model, tmp_path)
    third.epoch(1, 0.8, weights=12)
    assert third.end() == 12


@pytest.mark.parametrize("survived", [0, 1], ids=["before the weights", "before the state"])
def test_a_kill_inside_the_callback_leaves_the_state_of_the_epoch_before(model, tmp_path, monkeypatch, survived):
    first = Training(model, tmp_path)
    first.epoch(0, 0.7)
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", dying(os.replace, survived))
        with pytest.raises(Killed):
            first.epoch(1, 0.9)
    second = Training(model, tmp_path)
    assert [entry["val_auc"] for entry in second.best.history] == [0.7]
    assert second.end() == 0
    second.epoch(1, 0.6, weights=11)
    assert second.end() == 0


def dying(function, survived: int):
    """The function, which kills the process at its call number `survived`, counted from 0, and at all later ones."""
    calls = iter(range(1000))

    def call(*arguments, **options):
        if next(calls) >= survived:
            raise Killed
        return function(*arguments, **options)

    return call


def back_up(model: keras.Model, directory: Path, epoch: int) -> None:
    backup = AtomicBackup(directory)
    backup.set_model(model)
    fill(model, epoch)
    backup.on_epoch_end(epoch)


def restored(model: keras.Model, directory: Path) -> tuple[float, int]:
    """What a new process finds: the weights' mark and the epoch that training goes on with."""
    fill(model, -1)
    model._initial_epoch = None
    backup = AtomicBackup(directory)
    backup.set_model(model)
    backup.on_train_begin()
    return mark(model), model._initial_epoch


def test_a_backup_brings_back_weights_epoch_and_optimizer(model, tmp_path):
    model.optimizer.iterations.assign(17)
    back_up(model, tmp_path / "backup", 3)
    model.optimizer.iterations.assign(0)
    assert restored(model, tmp_path / "backup") == (3, 4)
    assert int(model.optimizer.iterations) == 17
    assert [path.name for path in tmp_path.iterdir()] == ["backup"]


def test_without_a_backup_training_begins_at_the_beginning(model, tmp_path):
    assert restored(model, tmp_path / "backup") == (-1, None)


@pytest.mark.parametrize(
    ("module", "function", "survived", "epoch"),
    [
        (json, "dumps", 0, 1),  # The weights are written, the epoch is not.
        (os, "rename", 0, 1),  # Both are written, beside.
        (os, "rename", 1, 1),  # The old backup is away, the new one not there yet.
        (shutil, "rmtree", 0, 2),  # The new one is there, the old one still lies around.
    ],
)
def test_a_kill_at_any_point_leaves_a_whole_backup(model, tmp_path, monkeypatch, module, function, survived, epoch):
    directory = tmp_path / "backup"
    back_up(model, directory, 1)
    with monkeypatch.context() as patched:
        # Nor do the dead clear anything up.
        patched.setattr(shutil, "rmtree", dying(shutil.rmtree, 0))
        patched.setattr(module, function, dying(getattr(module, function), survived))
        with pytest.raises(Killed):
            back_up(model, directory, 2)
    assert restored(model, directory) == (epoch, epoch + 1)
    # The next backup is made as ever, and nothing of the accident stays.
    back_up(model, directory, 3)
    assert restored(model, directory) == (3, 4)
    assert [path.name for path in tmp_path.iterdir()] == ["backup"]


def test_a_kill_while_the_weights_are_written_leaves_the_backup_before(model, tmp_path, monkeypatch):
    directory = tmp_path / "backup"
    back_up(model, directory, 1)

    def half(path, *arguments, **options):
        Path(path).write_bytes(b"\x89HDF half of it")
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(model, "save_weights", half)
        with pytest.raises(Killed):
            back_up(model, directory, 2)
    assert restored(model, directory) == (1, 2)
    back_up(model, directory, 3)
    assert restored(model, directory) == (3, 4)


def test_a_backup_is_whole_where_only_the_one_before_is_left(model, tmp_path):
    back_up(model, tmp_path / "backup", 1)
    shutil.move(tmp_path / "backup", tmp_path / ".previous-backup")
    (tmp_path / ".incoming-0123abcd-backup").mkdir()
    (tmp_path / ".incoming-0123abcd-backup" / "training_metadata.json").write_text(json.dumps({"epoch": 9, "batch": 0}))
    assert restored(model, tmp_path / "backup") == (1, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["backup"]


def test_a_process_that_does_not_write_reads_what_another_wrote(model, tmp_path):
    writer = Training(model, tmp_path)
    writer.epoch(0, 0.7)
    backup = AtomicBackup(tmp_path / "backup")
    backup.set_model(model)
    backup.on_epoch_end(0)
    before = sorted(tmp_path.rglob("*"))
    model.stop_training = False

    reader = BestEpoch(tmp_path, 1, writes=False)
    reader.set_model(model)
    assert reader.history == writer.best.history
    backup = AtomicBackup(tmp_path / "backup", writes=False)
    backup.set_model(model)
    fill(model, 9)
    backup.on_train_begin()
    assert mark(model) == 0
    assert model._initial_epoch == 1
    fill(model, 5)
    reader.on_epoch_end(1, {"val_auc": 0.6, "loss": 1.0})
    backup.on_epoch_end(1)
    # It decides like the writer, and the weights are left to that one.
    assert model.stop_training
    reader.on_train_end()
    assert mark(model) == 5
    assert sorted(tmp_path.rglob("*")) == before
    model._initial_epoch = None
