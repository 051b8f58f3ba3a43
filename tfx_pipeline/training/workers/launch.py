"""Starts the process that is this worker's part of one training, and waits for it."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfx_pipeline.console import console
from tfx_pipeline.errors import ModelError
from tfx_pipeline.files.json_record import JsonRecord
from tfx_pipeline.files.reading import read_json, read_text
from tfx_pipeline.files.writing import write_json
from tfx_pipeline.training.workers.cluster import Cluster

MEMBER = "tfx_pipeline.training.workers.member"
JOB, ERROR, RESULT = "job.json", "error.txt", "result.json"
JOIN_SECONDS = 600.0
"""How long a training waits for a worker that has not come."""
_LOOKS = 2.0


@dataclasses.dataclass(frozen=True)
class Job(JsonRecord):
    """What the chief tells the others: what is trained on what.

    Attributes:
        fn_args: those of TFX's `FnArgs` that a training reads.
        settings: class of the step's settings.
        training: the section, as this training has it.
        refit: whether it is on train and eval.
        state_dir: where its state lies.
    """

    fn_args: Mapping[str, Any]
    settings: str
    training: Mapping[str, Any]
    refit: bool
    state_dir: str


def take_part(cluster: Cluster, job: Job | None = None, *, join_seconds: float = JOIN_SECONDS) -> float | None:
    """Trains with the other workers, in a process of its own, until the training is complete.

    Args:
        cluster: the workers.
        job: what is trained; only the chief has it.
        join_seconds: how long to wait for the others.

    Returns:
        Requests per second of all workers together; None where no whole epoch was trained.

    Raises:
        ConfigError: the chief without a job, or another with one.
        ModelError: the process has ended in an error: a worker was lost or did not come, or the training diverged.
    """
    cluster.check_role(chief=job is not None)
    with tempfile.TemporaryDirectory(prefix="dmf-worker-") as folder:
        if job is not None:
            write_json(Path(folder, JOB), job.to_json())
        told, tells = os.pipe()
        with os.fdopen(told, encoding="utf-8", errors="replace") as lines:
            process = subprocess.Popen(
                [sys.executable, "-m", MEMBER, folder, str(tells), f"{join_seconds:g}"],
                # The process ends with this one: nothing is ever written to the pipe.
                stdin=subprocess.PIPE,
                pass_fds=[tells],
                env={**os.environ, "TF_FORCE_GPU_ALLOW_GROWTH": "true"},
            )
            os.close(tells)
            try:
                for line in lines:
                    console().print(line.rstrip("\n"), highlight=False, soft_wrap=True)
                status = process.wait()
            except BaseException:
                process.kill()
                process.wait()
                raise
            finally:
                if process.stdin is not None:
                    process.stdin.close()
        if status:
            reason = _reason(Path(folder, ERROR), status, cluster, join_seconds)
            raise ModelError(f"training by several workers stopped ({cluster}): {reason}")
        rate: float | None = read_json(Path(folder, RESULT))
        return rate


def _reason(error: Path, status: int, cluster: Cluster, join_seconds: float) -> str:
    if error.exists():
        return read_text(error)
    if status == -signal.SIGALRM:
        others = ", ".join(address for index, address in enumerate(cluster.addresses) if index != cluster.index)
        return (
            f"the others ({others}) did not all come within {join_seconds:g} s; start `dmf run` on the chief and "
            "`dmf worker` on the others, each with its own TF_CONFIG"
        )
    return f"its process ended with status {status}"


def work(cluster: Cluster, trainings: int, wait_seconds: float) -> None:
    """Takes part in so many trainings of the chief, one after the other.

    Args:
        cluster: the workers, of which this is not the chief.
        trainings: at least 1.
        wait_seconds: how long to wait for each to begin.

    Raises:
        ModelError: the chief began none in time, or as of `take_part`.
    """
    for number in range(1, trainings + 1):
        if number > 1:
            _wait_for_chief(cluster, JOIN_SECONDS, listens=False)
        _wait_for_chief(cluster, wait_seconds, listens=True)
        take_part(cluster)
        console().print(f"{cluster}: training {number} of {trainings} is complete", soft_wrap=True)


def _wait_for_chief(cluster: Cluster, seconds: float, *, listens: bool) -> None:
    """Returns when the chief has begun a training, or, with `listens` false, when it is done with one."""
    host, _, port = cluster.addresses[0].rpartition(":")
    end = time.monotonic() + seconds
    while _listens(host.strip("[]"), int(port)) != listens:
        if time.monotonic() > end:
            raise ModelError(
                f"the chief at {cluster.addresses[0]} {'began no' if listens else 'did not end its'} training within "
                f"{seconds:g} s; start `dmf run` there, or wait longer (--wait)"
            )
        time.sleep(_LOOKS)


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=_LOOKS):
            return True
    except OSError:
        return False
