"""The user's console: what it prints is text, and it is kept apart from the noise of the libraries.

Ids, titles, paths and names come from outside. rich would read `[b]` in them as markup and `:smile:` as a picture, and
would send ESC to the terminal. The consoles of this module read nothing into a string, and show control characters
escaped. Style is given beside the text, by `styled`.

TensorFlow, MLMD and Beam write to file descriptors 1 and 2 from C++ as well as from Python. While `quiet_libraries`
is active both descriptors lead into a log file, and `console()` goes on writing to the terminal.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import rich.console
import rich.status
from rich.console import RenderableType
from rich.protocol import is_renderable
from rich.text import Text

if TYPE_CHECKING:
    from rich.progress import ProgressColumn, Task

_PLAIN_WIDTH = 140
# C0, DEL and C1, breaks of lines and paragraphs, characters that turn the direction of others, halves of pairs.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    r"""The text in one line that does nothing to a terminal: control characters as Python escapes, such as `\x1b`."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def styled(*parts: str | tuple[str, str]) -> Text:
    """One line of text of which parts have a style; `("ready", "green bold")` is such a part."""
    pairs = ((part, "") if isinstance(part, str) else part for part in parts)
    return Text.assemble(*((visible(text), style) for text, style in pairs))


def lines(*texts: str | Text) -> Text:
    """Several lines as one text, such as the cell of a table; a line break within one of them is shown escaped."""
    return Text("\n").join(styled(text) if isinstance(text, str) else text for text in texts)


class Console(rich.console.Console):
    """A console that takes every string for one line of text: no markup, no emoji codes, no control characters."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Prints tables and texts; what is neither is printed as the string that it is."""
        super().print(*(one if is_renderable(one) else str(one) for one in objects), **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """What a string becomes, wherever it stands: in a sentence, in the cell or in the title of a table."""
        return super().render_str(visible(text), **{**options, "markup": False, "emoji": False})

    def status(self, status: RenderableType, **options: Any) -> rich.status.Status:
        """A line that says what is going on, for the time of a block."""
        return _Status(status, console=self, **options)


class _Status(rich.status.Status):
    """rich itself takes the string of a status for markup, whatever the console says."""

    def __init__(self, status: RenderableType, **options: Any):
        super().__init__(_as_text(status), **options)

    def update(self, status: RenderableType | None = None, **options: Any) -> None:
        """Says something else."""
        super().update(status if status is None else _as_text(status), **options)


def _as_text(value: RenderableType) -> RenderableType:
    return styled(value) if isinstance(value, str) else value


def task_column(text_format: str) -> ProgressColumn:
    """A column of a progress line, where rich's own one takes texts for markup: a format, filled in with a `task`."""
    # Not above: its import takes four times as long as all that `dmf --help` needs of rich.
    from rich.progress import ProgressColumn
    from rich.table import Column

    class TaskText(ProgressColumn):
        def render(self, task: Task) -> Text:
            return styled(text_format.format(task=task))

    return TaskText(table_column=Column(no_wrap=True))


_active: list[Console] = []


def console() -> Console:
    """The console for progress and summaries: standard error, so that `--json` output stays clean."""
    return _active[-1] if _active else console_on(sys.stderr)


def console_on(stream: TextIO) -> Console:
    """A console on `stream`, wide enough for broad tables where there is no terminal."""
    # Where there is no terminal, its width is unknown and 80 columns would break every table.
    return Console(file=stream, width=None if stream.isatty() else _PLAIN_WIDTH)


@contextlib.contextmanager
def console_to(stream: TextIO) -> Iterator[None]:
    """Within it `console()` writes to `stream`: of a process whose parent has the user's console."""
    _active.append(console_on(stream))
    try:
        yield
    finally:
        _active.pop()


@contextlib.contextmanager
def quiet_libraries(log_file: Path) -> Iterator[None]:
    """Sends everything written to stdout and stderr by libraries to `log_file`, Python's logging included."""
    log_file.parent.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    _flush()
    saved_out, saved_err = os.dup(1), os.dup(2)
    with (
        open(log_file, "ab", buffering=0) as log,
        os.fdopen(os.dup(saved_err), "w", buffering=1, encoding="utf-8", errors="replace") as terminal,
    ):
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        handler = logging.StreamHandler(_LogText(log))
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root.handlers[:] = [handler]
        root.setLevel(logging.INFO)
        _active.append(console_on(terminal))
        try:
            yield
        finally:
            _active.pop()
            _flush()
            root.handlers[:], root.level = handlers, level
            os.dup2(saved_out, 1)
            os.dup2(saved_err, 2)
            os.close(saved_out)
            os.close(saved_err)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # A disk without room for the log must not hide what the run has to say of it.
        with contextlib.suppress(OSError):
            stream.flush()


class _LogText(io.TextIOBase):
    """The text of a log, of which is lost what finds no room."""

    def __init__(self, log: io.FileIO):
        self._log = log

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._log.write(text.encode("utf-8", "replace"))
        return len(text)
