"""The user's console, kept apart from the noise of the libraries.

TensorFlow, MLMD and Beam write to file descriptors 1 and 2 from C++ as well as from Python. While `quiet_libraries`
is active both descriptors lead into a log file, and `console()` goes on writing to the terminal.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from rich.console import Console

_PLAIN_WIDTH = 140

_active: list[Console] = []


def console() -> Console:
    """The console for progress and summaries: standard error, so that `--json` output stays clean."""
    return _active[-1] if _active else console_on(sys.stderr)


def console_on(stream: TextIO) -> Console:
    """A console on `stream`, wide enough for broad tables where there is no terminal."""
    # Where there is no terminal, its width is unknown and 80 columns would break every table.
    return Console(file=stream, width=None if stream.isatty() else _PLAIN_WIDTH)


@contextlib.contextmanager
def quiet_libraries(log_file: Path) -> Iterator[None]:
    """Sends everything written to stdout and stderr by libraries to `log_file`, Python's logging included."""
    log_file.parent.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    sys.stdout.flush()
    sys.stderr.flush()
    saved_out, saved_err = os.dup(1), os.dup(2)
    with (
        open(log_file, "ab", buffering=0) as log,
        os.fdopen(os.dup(saved_err), "w", buffering=1, encoding="utf-8", errors="replace") as terminal,
        open(log_file, "a", buffering=1, encoding="utf-8", errors="replace") as log_text,
    ):
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        handler = logging.StreamHandler(log_text)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root.handlers[:] = [handler]
        root.setLevel(logging.INFO)
        _active.append(console_on(terminal))
        try:
            yield
        finally:
            _active.pop()
            sys.stdout.flush()
            sys.stderr.flush()
            root.handlers[:], root.level = handlers, level
            os.dup2(saved_out, 1)
            os.dup2(saved_err, 2)
            os.close(saved_out)
            os.close(saved_err)
