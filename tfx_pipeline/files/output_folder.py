"""What every command that works in an output folder shares: it alone writes there, quietly, and ends in a sentence."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import os
import traceback
from collections.abc import Iterator
from pathlib import Path

from tfx_pipeline.console import quiet_libraries
from tfx_pipeline.errors import PipelineError


@contextlib.contextmanager
def hold_output(output: Path, command: str) -> Iterator[Path]:
    """Holds an output folder while a command works in it, and sends what the libraries print to a log file there.

    Args:
        output: the folder; made if it is not there.
        command: names the log file.

    Yields:
        The log file, `OUTPUT/logs/COMMAND-TIME.log`.

    Raises:
        PipelineError: another process holds the folder, or whatever was raised inside: errors of ours as they are, of
            others the first line; the message names the log, which has the traceback.
    """
    log_file = output / "logs" / f"{command}-{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S}.log"
    set_up_libraries()
    try:
        with _lock(output), quiet_libraries(log_file):
            yield log_file
    except PipelineError as error:
        _log(error, log_file)
        raise type(error)(f"{error}\nlog: {log_file}") from error
    # Whatever else a library raised: the user gets a sentence, the log the traceback.
    except Exception as error:
        raise unexpected(error, log_file) from error


def set_up_libraries() -> None:
    """What TFX and TensorFlow read from the environment when they are imported; to be called before."""
    # TFX's libraries are for Keras 2: `tf.keras` is to be theirs. What imports `keras`, for Keras 3, is not affected.
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")


def unexpected(error: Exception, log_file: Path) -> PipelineError:
    """The sentence for an error that nobody foresaw; its traceback is added to the log file."""
    _log(error, log_file)
    first_line = (str(error).strip() or "no message").splitlines()[0]
    return PipelineError(f"unexpected {type(error).__name__}: {first_line}\nlog: {log_file}")


@contextlib.contextmanager
def _lock(output: Path) -> Iterator[None]:
    """Two runs at once would take each other's half-written files for left-overs."""
    output.mkdir(parents=True, exist_ok=True)
    with open(output / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PipelineError(
                f"another run is writing to {output}; wait for it, or give this one an output of its own"
            ) from None
        yield


def _log(error: Exception, log_file: Path) -> None:
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with open(log_file, "a", encoding="utf-8") as log:
        traceback.print_exception(error, file=log)
