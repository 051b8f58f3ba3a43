"""A full disk, then a kill, in one step of the pipeline after the other; and a run that ends as if nothing had been.

One step by default; `FAULTS=all` tries each, and compares with a run that was never disturbed.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import resource
import signal
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.end_to_end.conftest import small_config

STEPS = (
    "BehaviorLogExampleGen",
    "ItemContentGen",
    "StatisticsGen",
    "SchemaGen",
    "ExampleValidator",
    "Transform",
    "RankingTrainer",
    "LatestBlessedModel",
    "ServingGate",
    "Evaluator",
    "Pusher",
)
ALL = os.environ.get("FAULTS") == "all"
TRIED = STEPS if ALL else ("RankingTrainer",)
LONGEST = {"BehaviorLogExampleGen": 1.0, "Transform": 3.0, "RankingTrainer": 6.0, "Evaluator": 3.0, "Pusher": 0.05}
"""Seconds within which a step is killed; without a number, within half a second, which may be in the next step."""

# Runs are forked from a process that has imported everything: a run begins within a second, and none knows of another.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tfx_pipeline.runners.local", "tfx_pipeline.training.run_fn"])


def _fill_the_disk() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def _kill_after(seconds: float) -> None:
    threading.Timer(seconds, os.kill, [os.getpid(), signal.SIGKILL]).start()


def _run(output: Connection, arguments: list[str], step: str | None, seconds: float | None) -> None:
    """`dmf run` whose disk is full from the step on, or which is killed so many seconds after the step has begun."""
    os.dup2(output.fileno(), sys.stderr.fileno())
    from tfx.orchestration.portable import launcher

    from tfx_pipeline.cli import main

    launch = launcher.Launcher.launch

    def launch_with_fault(self: Any) -> Any:
        if self._pipeline_node.node_info.id == step:
            _fill_the_disk() if seconds is None else _kill_after(seconds)
        return launch(self)

    launcher.Launcher.launch = launch_with_fault
    sys.stderr = os.fdopen(2, "w", buffering=1)
    os._exit(main(["run", *arguments]))


def dmf_run(config_file: Path, step: str | None = None, seconds: float | None = None) -> tuple[int, str]:
    """Exit status, negative for a signal, and what stood on the console."""
    reader, writer = _PROCESSES.Pipe(duplex=False)
    arguments = ["--config", str(config_file), "--summary-json", str(config_file.with_name("summary.json"))]
    process = _PROCESSES.Process(target=_run, args=(writer, arguments, step, seconds))
    process.start()
    writer.close()
    with os.fdopen(os.dup(reader.fileno()), encoding="utf-8", errors="replace") as text:
        console = text.read()
    process.join()
    assert process.exitcode is not None
    return process.exitcode, console


@pytest.fixture(scope="module")
def config_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = small_config(tmp_path_factory.mktemp("faults"))
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    values["model"] = {"name": "mean_pooling", "params": {"id_dim": 8, "hidden_units": [16]}}
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def _metrics(config_file: Path) -> dict[str, float]:
    summary = json.loads(config_file.with_name("summary.json").read_text(encoding="utf-8"))
    overall: dict[str, float] = summary["metrics"]["test"]["overall"]
    return overall


@pytest.mark.slow
def test_a_run_ends_as_if_nothing_had_been(config_file: Path) -> None:
    expected = None
    if ALL:
        status, console = dmf_run(config_file)
        assert status == 0, console
        expected = _metrics(config_file)

    text = config_file.read_text(encoding="utf-8")
    config_file.write_text(text.replace("output: out", "output: disturbed"), encoding="utf-8")
    moments = random.Random(13)
    for step in TRIED:
        status, console = dmf_run(config_file, step)
        assert status == 1, console
        assert "Traceback" not in console
        assert "stopped" in console
        status, console = dmf_run(config_file, step, moments.uniform(0, LONGEST.get(step, 0.5)))
        assert status == -signal.SIGKILL, console
    status, console = dmf_run(config_file)
    assert status == 0, console
    # As near as two undisturbed runs are: Beam adds up batches in any order.
    assert expected is None or _metrics(config_file) == pytest.approx(expected, rel=1e-5)
    status, console = dmf_run(config_file)
    assert status == 0, console
    assert console.count("cached") >= len(STEPS) - 1
