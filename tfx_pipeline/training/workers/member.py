"""The process that is one worker's part of one training; `launch.take_part` starts it.

Called with a folder, a descriptor that takes what the user is told, and how many seconds to wait for the others. In the
folder it finds the job, if it is the chief, and leaves a sentence about what went wrong, or the throughput.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

from serving.messages import first_line
from tfx_pipeline.files.output_folder import set_up_libraries

set_up_libraries()

import tensorflow as tf  # noqa: E402  after what it reads of the environment

from tfx_pipeline.config.schema import Training  # noqa: E402
from tfx_pipeline.console import console, console_to  # noqa: E402
from tfx_pipeline.errors import ConfigError, ModelError, PipelineError  # noqa: E402
from tfx_pipeline.files.reading import read_json  # noqa: E402
from tfx_pipeline.files.writing import write_text  # noqa: E402
from tfx_pipeline.training.settings import RefitSettings, TrainingSettings  # noqa: E402
from tfx_pipeline.training.trainer import epochs_in, tidy  # noqa: E402
from tfx_pipeline.training.training_job import TrainingJob  # noqa: E402
from tfx_pipeline.training.workers.cluster import Cluster  # noqa: E402
from tfx_pipeline.training.workers.group import Group  # noqa: E402
from tfx_pipeline.training.workers.launch import ERROR, JOB, RESULT, Job  # noqa: E402

_SETTINGS = {kind.__name__: kind for kind in (TrainingSettings, RefitSettings)}
# What a collective ends with when a process that it needs is gone.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
)
_AGAIN = "Start all workers again: the training goes on after its last whole epoch"
# Of the sentence for an error that nobody foresaw.
_LONGEST = 300


def main(folder: Path, tells: int, join_seconds: float) -> None:
    """Takes part, and ends the process: status 0 after the last epoch."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    stream = os.fdopen(tells, "w", buffering=1, encoding="utf-8", errors="replace")
    with stream, console_to(stream):
        try:
            rate = _train(folder, join_seconds)
        except PipelineError as error:
            _end(folder, str(error))
        except _LOST as error:
            traceback.print_exc()
            _end(folder, f"a worker was lost ({type(error).__name__}); its own log tells why. {_AGAIN}")
        except Exception as error:
            traceback.print_exc()
            _end(folder, f"{type(error).__name__}: {first_line(error)[:_LONGEST]}")
        write_text(folder / RESULT, "null" if rate is None else repr(rate))


def _train(folder: Path, join_seconds: float) -> float | None:
    cluster = Cluster.from_environment()
    if cluster is None:
        raise ConfigError("TF_CONFIG names no other worker")
    job = None
    if cluster.is_chief:
        job = Job.from_json(read_json(folder / JOB))
        # What killed writers left, before anybody reads.
        tidy(Path(job.state_dir))
    with _bounded(join_seconds):
        group = Group(tf.distribute.MultiWorkerMirroredStrategy(), cluster.is_chief)
        told = group.told_by_chief(None if job is None else job.to_json())
    job = Job.from_json(told)
    if not cluster.is_chief:
        console().print(f"{cluster}: in training", soft_wrap=True)
    _check_shared(group, Path(job.state_dir))
    training_job = TrainingJob.of(SimpleNamespace(**job.fn_args), _SETTINGS[job.settings])
    result = training_job.train_in(group, Training.model_validate(job.training), refit=job.refit)
    # Nobody leaves before the chief has written the last epoch.
    group.gathered([0.0])
    return result.requests_per_second


def _check_shared(group: Group, directory: Path) -> None:
    """Raises ModelError unless all workers see the same state: they would go on at different epochs."""
    seen = group.gathered(epochs_in(directory))
    if (seen != seen[0]).any():
        epochs = ", ".join(f"worker {index}: {int(row[-1])}" for index, row in enumerate(seen))
        raise ModelError(
            f"the workers see different states of this training (epochs in {directory}: {epochs}); the output folder "
            "must be one that all of them share"
        )


@contextlib.contextmanager
def _bounded(seconds: float) -> Iterator[None]:
    """The system ends the process by SIGALRM when the block has not ended in time.

    TensorFlow waits for others for an hour, and lets no thread of Python run meanwhile.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _end_with_parent() -> None:
    os.read(0, 1)
    os._exit(1)


def _end(folder: Path, sentence: str) -> None:
    """Ends the process at once: the end of TensorFlow's server may wait for what is not there any more."""
    write_text(folder / ERROR, sentence)
    sys.stderr.flush()
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
