"""What commands say where `TF_CONFIG` names several workers, and where it does not."""

from __future__ import annotations

import json
import socket

import pytest

from tfx_pipeline.cli import main
from tfx_pipeline.training.workers.cluster import Cluster


@pytest.fixture
def task(monkeypatch):
    """task(n): this is worker n of two, whose chief listens nowhere."""
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
    monkeypatch.setenv("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        chief = f"127.0.0.1:{free.getsockname()[1]}"

    def set_task(index: int) -> str:
        values = {"cluster": {"worker": [chief, "localhost:1"]}, "task": {"type": "worker", "index": index}}
        monkeypatch.setenv("TF_CONFIG", json.dumps(values))
        return chief

    return set_task


@pytest.mark.parametrize("tf_config", [None, "{}", "no JSON"])
def test_a_worker_must_be_told_of_the_others(tf_config, monkeypatch, capsys):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if tf_config is not None:
        monkeypatch.setenv("TF_CONFIG", tf_config)
    assert main(["worker"]) == 2
    told = "it has no JSON" if tf_config == "no JSON" else "names no second worker, which `dmf worker` would be"
    printed = capsys.readouterr().err
    assert printed.startswith("configuration: TF_CONFIG")
    assert told in printed


def test_the_chief_runs_the_pipeline_and_the_others_do_not(task, config_file, capsys):
    chief = task(0)
    assert main(["worker"]) == 2
    sentence = f"`dmf run` is for the chief alone, at {chief}, and `dmf worker` for every other\n"
    assert capsys.readouterr().err == f"configuration: TF_CONFIG says that this is chief of 2 workers; {sentence}"
    task(1)
    assert main(["run", "--config", str(config_file)]) == 2
    assert capsys.readouterr().err == f"configuration: TF_CONFIG says that this is worker 1 of 2 workers; {sentence}"
    assert not (config_file.parent / "out").exists()


def test_a_chief_that_never_comes_is_not_waited_for(task, capsys):
    chief = task(1)
    assert main(["worker", "--wait", "0.5"]) == 1
    waits, stopped, log = capsys.readouterr().err.splitlines()
    assert waits.startswith(f"worker 1 of 2 workers: waits for the chief at {chief}; log: ")
    assert stopped.startswith(f"stopped: the chief at {chief} began no training within 0.5 s; start `dmf run` there")
    assert log == waits.partition("; ")[2]


@pytest.mark.parametrize("command", ["compare", "tune", "demo"])
def test_other_commands_say_that_they_train_alone(command, task, tmp_path, capsys):
    task(1)
    assert main([command, "--config", str(tmp_path / "absent.yaml")]) == 2
    told, refused = capsys.readouterr().err.splitlines()
    assert told == f"TF_CONFIG names 2 workers; dmf {command} trains in this process alone"
    assert "absent.yaml" in refused
    # A step of the demo's pipeline would look at it.
    assert Cluster.from_environment() is None
