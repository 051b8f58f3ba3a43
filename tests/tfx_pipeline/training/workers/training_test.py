"""Two worker processes on this machine: they train what one would, and none waits for one that is gone."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tfx_pipeline.training.trainer_test import ROOT, RUN_FN, assert_alike
from tfx_pipeline.config.model import Model
from tfx_pipeline.config.schema import Training
from tfx_pipeline.errors import ModelError
from tfx_pipeline.training.settings import TrainingSettings
from tfx_pipeline.training.training_job import TrainingJob
from tfx_pipeline.training.workers.cluster import Cluster
from tfx_pipeline.training.workers.launch import Job, take_part

# TensorFlow notices after ten seconds at most that a process is gone.
_NOTICED_SECONDS = 60
_MODEL = Model(params={"id_dim": 8, "attention_dim": 8, "hidden_units": [16], "buckets": 9})
_SOON_TRAINED = Model(name="mean_pooling", params={"id_dim": 8, "hidden_units": [16]})


def free_ports() -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextlib.contextmanager
def workers(arguments: Path) -> Iterator[tuple[subprocess.Popen, subprocess.Popen]]:
    """The chief, which has all that `run_fn` needs, and `dmf worker`, which has `TF_CONFIG`; a session each."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports()]
    commands = ["-c", RUN_FN, str(arguments)], ["-m", "tfx_pipeline.cli", "worker", "--wait", "300"]
    with contextlib.ExitStack() as stack:
        processes = []
        for index, command in enumerate(commands):
            tf_config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env={**os.environ, "TF_CONFIG": json.dumps(tf_config), "CUDA_VISIBLE_DEVICES": "-1"},
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            stack.callback(process.wait)
            stack.callback(end, process)
            processes.append(process)
        yield tuple(processes)


def end(process: subprocess.Popen) -> None:
    """Kills a worker and the process that trains for it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def write_arguments(world: Any, out: Path, training: Training, model: Model) -> Path:
    out.mkdir()
    options = {"training": training.model_dump_json(), "model": model.model_dump_json(), "explain": False}
    arguments = out / "arguments.json"
    arguments.write_text(json.dumps(vars(world.fn_args(out, **options))))
    return arguments


def history_alone(world: Any, out: Path, training: Training, model: Model) -> list[dict[str, float]]:
    options = {"training": training.model_dump_json(), "model": model.model_dump_json()}
    job = TrainingJob.of(world.fn_args(out, **options), TrainingSettings)
    _, result = job.train(training)
    return result.history


def history_of(out: Path) -> list[dict[str, float]]:
    return json.loads((out / "run" / "training.json").read_text())["history"]


@pytest.mark.slow
def test_two_processes_train_the_model_that_one_would(tiny_world, tmp_path):
    # Requests have one to four candidates, and of the last batch's single one the second worker has nothing.
    training = Training(batch_size=57, epochs=2, seed=5, average_weights=True, row_updates=True)
    arguments = write_arguments(tiny_world, tmp_path / "two", training, _MODEL)
    with workers(arguments) as (chief, worker):
        _, told = chief.communicate(timeout=1200)
        assert chief.returncode == 0, told[-3000:]
        _, also = worker.communicate(timeout=100)
        assert worker.returncode == 0, also
    assert "epoch 2/2: " in told
    assert "worker 1 of 2 workers: training 1 of 1 is complete" in also
    assert "epoch" not in also
    expected = history_alone(tiny_world, tmp_path / "one", training, _MODEL)
    assert len(expected) == 2
    for one, two in zip(expected, history_of(tmp_path / "two"), strict=True):
        assert_alike(two, one, loss=2e-5)
    result = json.loads((tmp_path / "two" / "run" / "training.json").read_text())
    assert result["requests_per_second"] > 0
    assert not os.listdir(tmp_path / "two" / "state")


@pytest.mark.slow
def test_nobody_waits_for_a_killed_worker_and_the_next_start_goes_on(tiny_world, tmp_path):
    # In the order of the file, as the shuffled orders of a process that goes on are others.
    training = Training(batch_size=4, epochs=6, patience=6, seed=5, shuffle_buffer=1)
    out = tmp_path / "two"
    arguments = write_arguments(tiny_world, out, training, _SOON_TRAINED)
    with workers(arguments) as (chief, worker):
        deadline = time.monotonic() + 600
        while not list(out.glob("state/*/backup")):
            assert chief.poll() is None, chief.communicate()[1][-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        end(worker)
        killed = time.monotonic()
        _, told = chief.communicate(timeout=600)
        assert time.monotonic() - killed < _NOTICED_SECONDS
        assert chief.returncode == 1
    assert "ModelError: training by several workers stopped (chief of 2 workers): a worker was lost" in told
    assert "the training goes on after its last whole epoch" in told
    (state,) = out.glob("state/*/best_epoch.json")
    before = json.loads(state.read_text())
    assert 0 < len(before) < 6

    with workers(arguments) as (chief, worker):
        _, told = chief.communicate(timeout=1200)
        assert chief.returncode == 0, told[-3000:]
        _, also = worker.communicate(timeout=100)
        assert worker.returncode == 0, also
    again = [number for number in range(1, 7) if f"epoch {number}/6: " in told]
    assert again == list(range(again[0], 7))
    assert again[0] > 1
    found = history_of(out)
    assert found[: again[0] - 1] == before[: again[0] - 1]
    expected = history_alone(tiny_world, tmp_path / "one", training, _SOON_TRAINED)
    for one, two in zip(expected, found, strict=True):
        assert_alike(two, one, loss=1e-4)


@pytest.mark.slow
def test_a_worker_that_never_comes_is_not_waited_for(tiny_world, tmp_path, monkeypatch):
    addresses = tuple(f"127.0.0.1:{port}" for port in free_ports())
    tf_config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(tf_config))
    job = Job(vars(tiny_world.fn_args(tmp_path)), "TrainingSettings", {}, False, str(tmp_path / "state"))
    with pytest.raises(ModelError, match=r"chief of 2 workers\): the others .* did not all come within 1 s; start"):
        take_part(Cluster(addresses, 0), job, join_seconds=1)
    assert not (tmp_path / "state").exists()


def test_workers_that_see_different_states_do_not_train(tmp_path):
    from tfx_pipeline.training.workers.member import _check_shared

    class Seen:
        def gathered(self, values: Any) -> np.ndarray:
            return np.array([values, [0, other]], np.float32)

    other = 0
    _check_shared(Seen(), tmp_path)
    (tmp_path / "backup").mkdir()
    (tmp_path / "backup" / "training_metadata.json").write_text('{"epoch": 2}')
    with pytest.raises(
        ModelError, match=r"different states .*worker 0: 2, worker 1: 0\); the output folder must be one"
    ):
        _check_shared(Seen(), tmp_path)
    other = 2
    _check_shared(Seen(), tmp_path)
